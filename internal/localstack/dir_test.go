package localstack

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDirIsInTheCheckout(t *testing.T) {
	t.Setenv(DirVariable, "")
	root, err := filepath.Abs("../..")
	require.NoError(t, err)

	dir, err := Dir()

	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, ".local"), dir)
}

func TestDirOutsideOfACheckout(t *testing.T) {
	t.Setenv(DirVariable, "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "go.mod"), []byte("module example.com/other\n"), 0o600))
	t.Chdir(foreign)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)

	dir, err := Dir()

	require.NoError(t, err)
	require.Equal(t, filepath.Join(cache, "holdfast"), dir)
}

func TestDirAsTold(t *testing.T) {
	told := t.TempDir()
	t.Setenv(DirVariable, told)

	dir, err := Dir()

	require.NoError(t, err)
	require.Equal(t, told, dir)
}

func TestReachable(t *testing.T) {
	t.Parallel()
	stranger := account{"stranger", &syscall.Credential{Uid: 4_000_000_000, Gid: 4_000_000_000}}
	open, err := os.MkdirTemp("/tmp", "holdfast-reachable-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(open)) })
	require.NoError(t, os.Chmod(open, 0o755))
	closed := filepath.Join(open, "closed")
	inside := filepath.Join(closed, "inside")
	require.NoError(t, os.MkdirAll(inside, 0o755))
	require.NoError(t, os.Chmod(closed, 0o700))

	t.Run("an open folder stays", func(t *testing.T) {
		dir, temporary, err := stranger.reachable(closed)
		require.NoError(t, err)
		require.False(t, temporary)
		require.Equal(t, closed, dir)
	})
	t.Run("a folder behind a closed one is replaced", func(t *testing.T) {
		dir, temporary, err := stranger.reachable(inside)
		require.NoError(t, err)
		require.True(t, temporary)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		ok, err := stranger.reaches(dir)
		require.NoError(t, err)
		require.True(t, ok)
	})
	t.Run("its owner passes", func(t *testing.T) {
		owner := account{"owner", &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}
		ok, err := owner.reaches(inside)
		require.NoError(t, err)
		require.True(t, ok)
	})
}
