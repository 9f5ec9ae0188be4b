package activities

import "github.com/holdfast/holdfast/internal/provider"

// Disposed says whether the table knows the class, and whether it is tried again.
func Disposed(class provider.Class) (retry, known bool) {
	d, known := dispositions[class]
	return d.retry, known
}

// MaxPosts is how many posts to the app's webhook a process makes at a time.
const MaxPosts = maxPosts
