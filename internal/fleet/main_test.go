package fleet_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs are the paths of the programs under test, built once, with the race detector.
var programs struct{ starter, worker, recipe string }

func TestMain(m *testing.M) {
	code, err := runWithPrograms(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runWithPrograms(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "holdfast-programs-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-race", "-o", dir+string(filepath.Separator),
		"../../starter", "../../worker", "../../docs/recipes/start-onboarding-go")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	programs.starter = filepath.Join(dir, "starter")
	programs.worker = filepath.Join(dir, "worker")
	programs.recipe = filepath.Join(dir, "start-onboarding-go")
	return m.Run(), nil
}
