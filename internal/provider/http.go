package provider

import (
	"net/http"
	"time"
)

const (
	// idleConnections allows as many calls at once as the rate of a busy account brings about.
	idleConnections = 64
	// A dead HTTP/2 connection is noticed by a ping, or else every call on it would time out.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// NewHTTPTransport makes the transport for calls to one provider's API. It sets no time for a
// whole call: each call's context does.
func NewHTTPTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}
