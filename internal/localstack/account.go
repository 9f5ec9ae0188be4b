package localstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that a server runs as. The zero account is the user of this process.
type account struct {
	name       string
	credential *syscall.Credential
}

// unprivileged is the account for Postgres, which refuses to run as root: this user, or when that
// is root, the machine's own postgres or nobody.
func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			errs = append(errs, err)
			continue
		}
		return account{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return account{}, fmt.Errorf("find an unprivileged user to run Postgres as, since it refuses to run as root: %w", errors.Join(errs...))
}

// owns hands a file or folder over to the account.
func (a account) owns(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Chown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// reaches says whether the account may pass through every folder above path. A checkout below
// /root, for one, is out of reach for everybody else.
func (a account) reaches(path string) (bool, error) {
	if a.credential == nil {
		return true, nil
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false, err
		}
		if !a.enters(info) {
			return false, nil
		}
		if dir == filepath.Dir(dir) {
			return true, nil
		}
	}
}

func (a account) enters(dir fs.FileInfo) bool {
	owner := dir.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // what Unix gives, always
	switch {
	case owner.Uid == a.credential.Uid:
		return dir.Mode()&0o100 != 0
	case owner.Gid == a.credential.Gid:
		return dir.Mode()&0o010 != 0
	default:
		return dir.Mode()&0o001 != 0
	}
}

// reachable gives dir back if the account reaches it, and otherwise makes a temporary folder that
// it does reach.
func (a account) reachable(dir string) (_ string, temporary bool, err error) {
	ok, err := a.reaches(dir)
	if err != nil || ok {
		return dir, false, err
	}
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		made, err := os.MkdirTemp(parent, "holdfast-")
		if err != nil {
			continue
		}
		if ok, err := a.reaches(made); err == nil && ok {
			return made, true, nil
		}
		if err := os.Remove(made); err != nil {
			return "", false, err
		}
	}
	return "", false, fmt.Errorf("find a folder that the user %s can reach: %s and the temporary folders are closed to it", a.name, dir)
}
