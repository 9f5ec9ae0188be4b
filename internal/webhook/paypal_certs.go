package webhook

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	certFetchTimeout = 2 * time.Second
	maxCertFile      = 64 << 10
	maxCertsInFile   = 10
	maxCertsKept     = 16 // PayPal signs with one or two at a time
	// certLookAgain is how long a certificate is used before it is looked for again: one that PayPal
	// takes away, because its key is not PayPal's alone any more, is then used no longer.
	certLookAgain = 24 * time.Hour
	certTryAgain  = time.Minute
	minKeyBits    = 2048

	// Anybody can make us look for a certificate that is not there, so we look only so often a
	// second; what is kept is not concerned.
	certFetchesPerSecond = 5
	certFetchBurst       = 10
)

// PayPalCertHosts are the hosts from which PayPal serves its certificates, live and sandbox.
func PayPalCertHosts() []string {
	return []string{"api.paypal.com", "api-m.paypal.com", "api.sandbox.paypal.com", "api-m.sandbox.paypal.com"}
}

// ReadCertPool reads the authorities in a PEM file; no file name means nil, the system's.
func ReadCertPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is how crypto/x509 names the system's
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read the certificate authorities: %s holds no certificate in PEM", file)
	}
	return pool, nil
}

// payPalCerts gives the keys that PayPal signs with. A certificate is fetched once, whoever waits
// for it, checked, and kept until it expires or is found to be gone.
type payPalCerts struct {
	hosts    certHosts
	roots    *x509.CertPool
	client   *http.Client
	fetches  *rate.Limiter
	fetching singleflight.Group

	mu   sync.Mutex
	kept map[string]payPalCert // by URL; only such as were found good
}

// payPalCert is a certificate whose chain was found good, for the time in which all of it is.
type payPalCert struct {
	key         *rsa.PublicKey
	from, until time.Time
	lookAgain   time.Time
}

func newPayPalCerts(cfg PayPalConfig) (*payPalCerts, error) {
	hosts, err := newCertHosts(cfg.CertHosts)
	if err != nil {
		return nil, err
	}
	transport := cfg.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
		}
	}
	return &payPalCerts{
		hosts: hosts,
		roots: cfg.Roots,
		client: &http.Client{
			Transport: transport,
			// A host was allowed, and not where it sends us.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		fetches: rate.NewLimiter(certFetchesPerSecond, certFetchBurst),
		kept:    map[string]payPalCert{},
	}, nil
}

// key is the public key of the certificate at the URL that a sender names.
func (c *payPalCerts) key(ctx context.Context, rawURL string, now time.Time) (*rsa.PublicKey, error) {
	certURL, err := c.checkURL(rawURL)
	if err != nil {
		return nil, err
	}
	kept, ok := c.get(certURL)
	if ok && kept.freshAt(now) {
		return kept.key, nil
	}
	fetched := c.fetching.DoChan(certURL, func() (any, error) { return c.fetch(ctx, certURL, now) })
	if ok && kept.goodAt(now) { // looked for again, and nobody waits
		return kept.key, nil
	}
	select {
	case result := <-fetched:
		cert, _ := result.Val.(payPalCert)
		return cert.key, result.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: wait for PayPal's certificate: %w", ErrUnavailable, ctx.Err())
	}
}

// payPalCertURL is the one form that the URL of a certificate has: nothing before the host, and
// nothing behind the certificate's name. Nobody makes us ask for anything else, and what the host is
// does not depend on how well a URL is parsed.
var payPalCertURL = regexp.MustCompile(`^(https?)://([A-Za-z0-9.:\[\]-]{1,255})(/v1/notifications/certs/[A-Za-z0-9_-]{1,200})$`)

// checkURL gives the URL in one form, if it leads to a certificate on an allowed host.
func (c *payPalCerts) checkURL(rawURL string) (string, error) {
	parts := payPalCertURL.FindStringSubmatch(rawURL)
	if parts == nil {
		return "", fmt.Errorf("%w: PAYPAL-CERT-URL is missing or does not lead to a certificate", ErrSignature)
	}
	scheme, host, path := parts[1], strings.ToLower(parts[2]), parts[3]
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	plain, allowed := c.hosts[host]
	switch {
	case !allowed:
		return "", fmt.Errorf("%w: PAYPAL-CERT-URL leads to a host that is not PayPal's", ErrSignature)
	case scheme != "https" && !plain:
		return "", fmt.Errorf("%w: PAYPAL-CERT-URL is not https", ErrSignature)
	}
	return scheme + "://" + host + path, nil
}

// certHosts are the hosts, with their ports, from which certificates are fetched, and whether they
// are over http too.
type certHosts map[string]bool

var certHost = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

func newCertHosts(names []string) (certHosts, error) {
	if len(names) == 0 {
		names = PayPalCertHosts()
	}
	hosts := certHosts{}
	for _, name := range names {
		parts := certHost.FindStringSubmatch(name)
		if parts == nil {
			return nil, fmt.Errorf("paypal webhooks: the certificate host %q must be a host name, with its port if that is not 443, such as api.paypal.com", name)
		}
		hosts[strings.TrimSuffix(strings.ToLower(name), ":443")] = isLoopback(strings.Trim(parts[1], "[]"))
	}
	return hosts, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetch reads and checks the certificate on behalf of everybody who waits: the caller that came
// first may leave.
func (c *payPalCerts) fetch(ctx context.Context, certURL string, now time.Time) (payPalCert, error) {
	kept, ok := c.get(certURL)
	if ok && kept.freshAt(now) { // of a fetch that ended just before this one began
		return kept, nil
	}
	if !c.fetches.Allow() {
		return payPalCert{}, fmt.Errorf("%w: too many certificates are being asked for", ErrUnavailable)
	}
	if ok && kept.goodAt(now) { // whatever comes of this, there is no hurry
		kept.lookAgain = now.Add(certTryAgain)
		c.keep(certURL, kept)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), certFetchTimeout)
	defer cancel()
	file, err := c.download(ctx, certURL)
	if err != nil {
		return payPalCert{}, c.gone(certURL, err)
	}
	cert, err := c.check(file, now)
	if err != nil {
		return payPalCert{}, c.gone(certURL, err)
	}
	c.keep(certURL, cert)
	return cert, nil
}

// gone forgets a certificate that is not there any more, or is no good. That PayPal does not answer
// says nothing about it.
func (c *payPalCerts) gone(certURL string, err error) error {
	if errors.Is(err, ErrSignature) {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.kept, certURL)
	}
	return err
}

func (c *payPalCerts) download(ctx context.Context, certURL string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, certURL, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: PAYPAL-CERT-URL is no URL", ErrSignature)
	}
	answer, err := c.client.Do(r)
	if err != nil {
		if request, ok := errors.AsType[*url.Error](err); ok {
			err = request.Err // without the URL, which is the sender's
		}
		return nil, fmt.Errorf("%w: fetch PayPal's certificate: %w", ErrUnavailable, err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: fetch PayPal's certificate: HTTP %d", ErrUnavailable, answer.StatusCode)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: there is no certificate at PAYPAL-CERT-URL: HTTP %d", ErrSignature, answer.StatusCode)
	}
	file, err := io.ReadAll(io.LimitReader(answer.Body, maxCertFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: fetch PayPal's certificate: %w", ErrUnavailable, err)
	case len(file) > maxCertFile:
		return nil, fmt.Errorf("%w: what is at PAYPAL-CERT-URL is too large for a certificate", ErrSignature)
	}
	return file, nil
}

// payPalCertName is the name under which PayPal signs messages, live and sandbox. Nobody else gets a
// certificate for it; PayPal's other certificates are not meant for this. (So checked by PayPal's
// own SDK for Java, SSLUtil.validateCertificateChain.)
var payPalCertName = regexp.MustCompile(`^messageverificationcerts(\.[a-z0-9-]+)?\.paypal\.com$`)

// check finds PayPal's certificate in the file and follows its chain to an authority that we
// believe, as it is at that time.
func (c *payPalCerts) check(file []byte, now time.Time) (payPalCert, error) {
	leaf, intermediates, err := parseCertFile(file)
	if err != nil {
		return payPalCert{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return payPalCert{}, fmt.Errorf("%w: PayPal's certificate is no good under the authorities in PAYPAL_CERT_CA_FILE, or else the system's: %w", ErrSignature, err)
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok || key.N.BitLen() < minKeyBits:
		return payPalCert{}, fmt.Errorf("%w: PayPal's certificate has no RSA key of %d bits or more", ErrSignature, minKeyBits)
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return payPalCert{}, fmt.Errorf("%w: PayPal's certificate is not for signatures", ErrSignature)
	}
	from, until := validity(chains[0])
	return payPalCert{key: key, from: from, until: until, lookAgain: now.Add(certLookAgain)}, nil
}

func parseCertFile(file []byte) (leaf *x509.Certificate, intermediates *x509.CertPool, err error) {
	intermediates = x509.NewCertPool()
	for range maxCertsInFile {
		var block *pem.Block
		if block, file = pem.Decode(file); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, nil, errors.New("what is at PAYPAL-CERT-URL is no certificate")
		case leaf == nil && payPalCertName.MatchString(cert.Subject.CommonName):
			leaf = cert
		default:
			intermediates.AddCert(cert)
		}
	}
	if leaf == nil {
		return nil, nil, errors.New("what is at PAYPAL-CERT-URL is not the certificate with which PayPal signs messages")
	}
	return leaf, intermediates, nil
}

// validity is the time in which every certificate of the chain is good.
func validity(chain []*x509.Certificate) (from, until time.Time) {
	from, until = chain[0].NotBefore, chain[0].NotAfter
	for _, cert := range chain[1:] {
		if cert.NotBefore.After(from) {
			from = cert.NotBefore
		}
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	return from, until
}

func (c payPalCert) goodAt(now time.Time) bool { return !now.Before(c.from) && !now.After(c.until) }

func (c payPalCert) freshAt(now time.Time) bool { return c.goodAt(now) && now.Before(c.lookAgain) }

func (c *payPalCerts) get(certURL string) (payPalCert, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, ok := c.kept[certURL]
	return cert, ok
}

// keep makes room by forgetting the certificate that expires first.
func (c *payPalCerts) keep(certURL string, cert payPalCert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.kept[certURL]; !known && len(c.kept) >= maxCertsKept {
		urls := slices.Collect(maps.Keys(c.kept))
		delete(c.kept, slices.MinFunc(urls, func(a, b string) int {
			return cmp.Or(c.kept[a].until.Compare(c.kept[b].until), cmp.Compare(a, b))
		}))
	}
	c.kept[certURL] = cert
}
