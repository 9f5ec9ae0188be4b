//go:build unix && !linux

package localstack

import "syscall"

// attributes puts the process in a group of its own, so that Ctrl-C in a terminal reaches only the
// process that decides what to do about it. Only Linux can tie its end to that of its parent.
func (a account) attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: a.credential}
}
