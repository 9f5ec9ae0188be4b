//go:build unix

package simulator

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// holdPort binds addr without listening: connections are refused, and no other program or test
// is given the port meanwhile. Closing what it returns frees the port.
func holdPort(addr string) (io.Closer, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("hold the port of %s: %w", addr, err)
	}
	family, address := socketAddress(tcp)
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("hold the port of %s: %w", addr, os.NewSyscallError("socket", err))
	}
	socket := os.NewFile(uintptr(fd), addr)
	if err := bindReusing(fd, address); err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("hold the port of %s: %w", addr, err)
	}
	return socket, nil
}

// bindReusing allows for connections of the closed listener that still linger on the port.
func bindReusing(fd int, address syscall.Sockaddr) error {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("bind", syscall.Bind(fd, address))
}

func socketAddress(tcp *net.TCPAddr) (family int, address syscall.Sockaddr) {
	if ip := tcp.IP.To4(); ip != nil {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip)}
	}
	v6 := &syscall.SockaddrInet6{Port: tcp.Port}
	copy(v6.Addr[:], tcp.IP.To16())
	return syscall.AF_INET6, v6
}
