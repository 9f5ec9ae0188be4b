package localstack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// keptOrTemporary makes dir, or a temporary folder when dir is empty, and tells which it was.
func keptOrTemporary(dir, name string) (_ string, temporary bool, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "holdfast-"+name+"-")
		return dir, true, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", false, err
	}
	return dir, false, os.MkdirAll(dir, 0o755)
}
