package localstack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// DirVariable names the environment variable that moves the folder of Dir elsewhere.
const DirVariable = "HOLDFAST_LOCAL_DIR"

const moduleLine = "module github.com/holdfast/holdfast\n"

// Dir is the folder for what a machine keeps between runs: built tools, fetched servers, data. It
// is what HOLDFAST_LOCAL_DIR says; else .local beside the go.mod of the checkout that the working
// directory is in; else a folder of the user's cache. The folder need not exist yet.
func Dir() (string, error) {
	if dir := os.Getenv(DirVariable); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := checkout()
	if err == nil {
		return filepath.Join(root, ".local"), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for the checkout that the working directory is in: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for local data (set %s to name one): %w", DirVariable, err)
	}
	return filepath.Join(cache, "holdfast"), nil
}

// checkout walks up to the folder with our own go.mod: another project's folder is not ours to fill.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte(moduleLine)) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fs.ErrNotExist
		}
		dir = parent
	}
}

// keptOrTemporary makes dir, or a temporary folder in the root when dir is empty, and tells which it was.
// Without a root it is where the system has such folders.
func keptOrTemporary(dir, root, name string) (_ string, temporary bool, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp(root, "holdfast-"+name+"-")
		return dir, true, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", false, err
	}
	return dir, false, os.MkdirAll(dir, 0o755)
}

const (
	memory       = "/dev/shm"
	roomInMemory = 4 << 30 // for several servers at once
)

// memoryRoot is a folder whose files are in memory: on a disk a new database, which is hundreds of files,
// takes ten times the work. It is empty where there is none, or little room, or TMPDIR names another place.
func memoryRoot() string {
	var files syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(memory, &files) != nil {
		return ""
	}
	if files.Bavail < roomInMemory/uint64(files.Bsize) {
		return ""
	}
	return memory
}
