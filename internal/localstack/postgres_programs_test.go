package localstack

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// repository serves an archive like those of the embedded-postgres project, whose server is a
// script that prints a version and whose initdb fails, as the real one does for root.
func repository(t *testing.T) (url string, downloads *atomic.Int32) {
	t.Helper()
	programs, err := os.ReadFile("testdata/postgres.txz")
	require.NoError(t, err)
	var jar bytes.Buffer
	archive := zip.NewWriter(&jar)
	entry, err := archive.Create("postgres.txz")
	require.NoError(t, err)
	_, err = entry.Write(programs)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	sum := sha256.Sum256(jar.Bytes())

	downloads = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
			return
		}
		downloads.Add(1)
		_, _ = w.Write(jar.Bytes())
	}))
	t.Cleanup(server.Close)
	return server.URL, downloads
}

func TestPostgresIsFetchedOnceByMany(t *testing.T) {
	t.Parallel()
	url, downloads := repository(t)
	dir := t.TempDir()

	var many errgroup.Group
	for range 3 {
		many.Go(func() error {
			bin, _, err := fetchedPostgres(t.Context(), dir, url, account{}, logTo(nil))
			if err != nil {
				return err
			}
			_, err = os.Stat(filepath.Join(bin, "initdb"))
			return err
		})
	}
	require.NoError(t, many.Wait())

	require.EqualValues(t, 1, downloads.Load())
	left, err := filepath.Glob(filepath.Join(dir, "downloads", "unpacking-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestPostgresIsUnpackedWhereItsUserReachesIt(t *testing.T) {
	t.Parallel()
	runAs, err := unprivileged()
	require.NoError(t, err)
	url, _ := repository(t)

	bin, scratch, err := fetchedPostgres(t.Context(), t.TempDir(), url, runAs, logTo(nil))

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(scratch)) })
	ok, err := runAs.reaches(filepath.Join(bin, "postgres"))
	require.NoError(t, err)
	require.True(t, ok)
}

func TestPostgresThatCannotBeFetchedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)

	_, _, err := fetchedPostgres(t.Context(), t.TempDir(), server.URL, account{}, logTo(nil))

	require.ErrorContains(t, err, "install one, or name a server in DATABASE_URL")
}

func TestAnOldPostgresIsNotUsed(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{
		"postgres (PostgreSQL) 17.5 (Debian 17.5-1.pgdg120+1)": 17,
		"postgres (PostgreSQL) 18beta1":                        18,
		"postgres (PostgreSQL) 13.21":                          0,
		"something else":                                       0,
	} {
		bin := t.TempDir()
		for _, program := range []string{"postgres", "initdb"} {
			script := "#!/bin/sh\necho '" + version + "'\n"
			require.NoError(t, os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755))
		}
		require.Equal(t, want, usablePostgres(bin, account{}), version)
	}
}
