package localstack

import (
	"archive/zip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// setupModules gives "go install" a module proxy of files with two versions of example.com/hello,
// and HOLDFAST_LOCAL_DIR an empty folder.
func setupModules(t *testing.T) {
	t.Helper()
	proxy := t.TempDir()
	versions := filepath.Join(proxy, "example.com", "hello", "@v")
	require.NoError(t, os.MkdirAll(versions, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(versions, "list"), []byte("v1.0.0\nv1.1.0\nv1.2.0\n"), 0o600))
	publish(t, versions, "v1.0.0", "package main\n\nfunc main() { println(\"one\") }\n")
	publish(t, versions, "v1.1.0", "package main\n\nfunc main() { println(\"two\") }\n")
	publish(t, versions, "v1.2.0", "package main\n\nfunc main() { undefined() }\n")
	modules := t.TempDir()
	t.Cleanup(func() { // the module cache is read-only, and so are its folders
		cmd := exec.Command("go", "clean", "-modcache")
		cmd.Env = append(os.Environ(), "GOMODCACHE="+modules)
		require.NoError(t, cmd.Run())
	})
	t.Setenv("GOMODCACHE", modules)
	t.Setenv("GOPROXY", "file://"+proxy)
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GOTOOLCHAIN", "local")
	t.Setenv(DirVariable, t.TempDir())
}

func publish(t *testing.T, dir, version, program string) {
	t.Helper()
	mod := "module example.com/hello\n\ngo 1.26\n"
	info := fmt.Sprintf(`{"Version":%q}`, version)
	require.NoError(t, os.WriteFile(filepath.Join(dir, version+".info"), []byte(info), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, version+".mod"), []byte(mod), 0o600))
	file, err := os.Create(filepath.Join(dir, version+".zip"))
	require.NoError(t, err)
	archive := zip.NewWriter(file)
	for name, content := range map[string]string{"go.mod": mod, "main.go": program} {
		entry, err := archive.Create("example.com/hello@" + version + "/" + name)
		require.NoError(t, err)
		_, err = entry.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, file.Close())
}

func TestToolIsBuiltOnceByManyAndAgainForANewVersion(t *testing.T) {
	setupModules(t)
	var mu sync.Mutex
	var lines []string
	log := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	}
	install := func(version string) string {
		tool := Tool{Package: "example.com/hello", Version: version}
		paths := make([]string, 4)
		var many errgroup.Group
		for i := range paths {
			many.Go(func() (err error) {
				paths[i], err = tool.Install(t.Context(), log)
				return err
			})
		}
		require.NoError(t, many.Wait())
		out, err := exec.Command(paths[0]).CombinedOutput()
		require.NoError(t, err)
		return string(out)
	}

	require.Equal(t, "one\n", install("v1.0.0"))
	require.Equal(t, "two\n", install("v1.1.0"))

	builds := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "building ") && strings.Contains(line, "once") {
			builds++
		}
	}
	require.Equal(t, 2, builds, "one for each version: %q", lines)
}

func TestToolThatCannotBeBuiltSaysWhatToDo(t *testing.T) {
	setupModules(t)

	_, err := Tool{Package: "example.com/hello", Version: "v1.2.0"}.Install(t.Context(), nil)

	require.ErrorContains(t, err, "undefined: undefined", "what the compiler said")
	require.ErrorContains(t, err, "go install example.com/hello@v1.2.0 (try it by hand, or put hello itself on PATH)")
	dir, err := Dir()
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(dir, "bin", "building-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestToolWithoutGo(t *testing.T) {
	t.Setenv(DirVariable, t.TempDir())
	t.Setenv("PATH", t.TempDir())

	_, err := TemporalCLI().Install(t.Context(), nil)

	require.ErrorContains(t, err, "install Go, or put temporal itself on PATH")
}
