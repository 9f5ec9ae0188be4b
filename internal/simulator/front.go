package simulator

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

const maxBody = 1 << 20

const badGatewayPage = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n" +
	"<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"

// provider is a simulated provider as the front before it sees it.
type provider interface {
	// ServeHTTP answers a request whose body is in memory. It must call execute for the work.
	http.Handler
	name() string
	// route is the pattern that the request matches, for the call log: no ids in it.
	route(r *http.Request) string
	// idempotencyKey is the key that the request was sent under, or empty.
	idempotencyKey(r *http.Request) string
	// needsKey says that the request is a write that must be sent under such a key.
	needsKey(r *http.Request) bool
	// bodyLimit is the most bytes that a request's body may have.
	bodyLimit() int64
	// failure is how this provider words a 401, a 429 or a 500.
	failure(status int) answer
}

// answer is a whole HTTP answer, held back until it is clear what becomes of it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// delivery is how much of an answer reaches the client.
type delivery int

const (
	whole delivery = iota
	cut
	closed // nothing, and the connection is closed
	reset  // nothing, and the connection is reset
)

// front stands before a provider: it logs every call and lets the faults decide what becomes of it.
type front struct {
	provider provider
	faults   *faults
	calls    *callLog
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := f.calls.arrived(Call{
		At:             time.Now(),
		Provider:       f.provider.name(),
		Method:         r.Method,
		Route:          f.provider.route(r),
		IdempotencyKey: f.provider.idempotencyKey(r),
	}, f.provider.needsKey(r))
	a, d, kind := f.decide(w, r)
	// Logged before it is sent, so that whoever has seen an answer finds it in the log.
	f.calls.answered(call, time.Now(), a.status, kind)
	deliver(w, a, d)
}

func (f *front) decide(w http.ResponseWriter, r *http.Request) (answer, delivery, FaultKind) {
	// Read first: the server notices that a client has gone only once the body is read.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, f.provider.bodyLimit()))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return answer{status: http.StatusRequestEntityTooLarge}, whole, ""
	case err != nil:
		return answer{}, closed, "" // the client has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))

	fault, err := f.faults.meet(f.provider.name(), r)
	switch {
	case err != nil && fault != nil:
		return answer{}, closed, fault.Kind
	case err != nil:
		return answer{}, closed, Latency
	case fault == nil:
		return capture(f.provider, r), whole, ""
	default:
		a, d := f.broken(r, fault)
		return a, d, fault.Kind
	}
}

func (f *front) broken(r *http.Request, fault *activeFault) (answer, delivery) {
	switch fault.Kind {
	case Reset:
		return answer{}, reset
	case ServerError:
		return f.provider.failure(http.StatusInternalServerError), whole
	case WrongKey:
		return f.provider.failure(http.StatusUnauthorized), whole
	case TooManyRequests:
		return retryLater(f.provider.failure(http.StatusTooManyRequests), fault.RetryAfter), whole
	case BadGateway:
		return answer{
			status: http.StatusBadGateway,
			header: http.Header{"Content-Type": {"text/html"}},
			body:   []byte(badGatewayPage),
		}, whole
	case Unavailable:
		return answer{status: http.StatusServiceUnavailable}, whole
	case ExecuteThenDrop:
		capture(f.provider, r)
		return answer{}, closed
	case Truncate:
		return capture(f.provider, r), cut
	default: // ExecuteThen500, Stored500, Stall
		return capture(f.provider, withExecutionFault(r, fault)), whole
	}
}

func retryLater(a answer, seconds int) answer {
	if seconds > 0 {
		a.header.Set("Retry-After", strconv.Itoa(seconds))
	}
	return a
}

// capture lets the handler answer into memory.
func capture(h http.Handler, r *http.Request) answer {
	c := captured{answer{status: http.StatusOK, header: http.Header{}}}
	h.ServeHTTP(&c, r)
	return c.answer
}

type captured struct{ answer }

func (c *captured) Header() http.Header    { return c.header }
func (c *captured) WriteHeader(status int) { c.status = status }
func (c *captured) Write(p []byte) (int, error) {
	c.body = append(c.body, p...)
	return len(p), nil
}

func deliver(w http.ResponseWriter, a answer, d delivery) {
	switch d {
	case whole:
		a.write(w, len(a.body))
	case cut:
		// The server closes a connection whose body stays short of its Content-Length.
		a.write(w, len(a.body)/2)
	case closed, reset:
		hangUp(w, d == reset)
	}
}

// write sends the first n bytes of the body, announcing all of them.
func (a answer) write(w http.ResponseWriter, n int) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:n]) // a client that has gone is no matter of ours
}

func hangUp(w http.ResponseWriter, abruptly bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the server's own way to close without an answer
	}
	if tcp, ok := conn.(*net.TCPConn); ok && abruptly {
		_ = tcp.SetLinger(0) // makes Close send a reset
	}
	_ = conn.Close()
}
