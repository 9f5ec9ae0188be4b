//go:build !unix

package simulator

import "io"

type nothingHeld struct{}

func (nothingHeld) Close() error { return nil }

// holdPort holds nothing where sockets are not Unix sockets: there the port is merely free while
// connections are refused.
func holdPort(string) (io.Closer, error) { return nothingHeld{}, nil }
