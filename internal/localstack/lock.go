package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// underLock runs do while no other process or goroutine holds the lock of the same path. waiting
// is called once if the lock is not free at once. The lock ends with its holder, however it ends.
func underLock(ctx context.Context, path string, waiting func(), do func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // releases the lock
	if err := lock(ctx, file, waiting); err != nil {
		return fmt.Errorf("wait for the lock %s: %w", path, err)
	}
	return do()
}

func lock(ctx context.Context, file *os.File, waiting func()) error {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for first := true; ; first = false {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}
