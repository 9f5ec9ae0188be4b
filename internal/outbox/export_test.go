package outbox

import "context"

// Stamped makes the calls of a context those of a message's delivery.
func Stamped(ctx context.Context, key string) context.Context {
	ctx, _ = withStamp(ctx, key)
	return ctx
}

// What tests look at from the outside of the package.
var (
	RowDelay  = rowDelay
	ErrorText = errorText
	Quote     = quote
)
