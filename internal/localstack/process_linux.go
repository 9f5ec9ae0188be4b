package localstack

import "syscall"

// attributes puts the process in a group of its own, so that Ctrl-C in a terminal reaches only the
// process that decides what to do about it, and ends it with the process that started it.
func (a account) attributes(whenParentDies syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: a.credential, Pdeathsig: whenParentDies}
}
