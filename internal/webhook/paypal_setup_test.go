package webhook_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/webhook"
)

const (
	webhookID = "8PT597110X687430LKGECATA"
	certName  = "messageverificationcerts.paypal.com"
	certURL   = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"
)

// eventBody has what a JSON encoder would change: white space, and characters that it escapes.
const eventBody = "{ \"id\" : \"WH-1\",\n\t\"summary\":\"a < b && c > d \u2028 \u00fc\" }\n"

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// signingKeys are made once: making one takes longer than any test.
var signingKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

func payPalKey() *rsa.PrivateKey   { return signingKeys()[0] }
func strangerKey() *rsa.PrivateKey { return signingKeys()[1] }

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority, a root of its own unless it has an issuer.
func newAuthority(t testing.TB, issuer *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := certTemplate("authority " + rand.Text())
	template.NotAfter = now.AddDate(10, 0, 0)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	made := &authority{key: key}
	if issuer == nil {
		issuer = &authority{cert: template, key: key}
	}
	made.cert = issuer.issue(t, template, key.Public())
	return made
}

func (a *authority) issue(t testing.TB, template *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// signing is a certificate such as PayPal signs with; change makes it another.
func (a *authority) signing(t testing.TB, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := certTemplate(certName)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if change != nil {
		change(template)
	}
	return a.issue(t, template, payPalKey().Public())
}

func certTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0),
	}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func certFile(certs ...*x509.Certificate) []byte {
	var file []byte
	for _, cert := range certs {
		file = append(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return file
}

// certHost is what serves certificates: the same answer to everybody.
type certHost struct {
	status int
	file   []byte
	before func(context.Context) error // what happens before an answer; nil is nothing

	mu    sync.Mutex
	asked []string
}

func (h *certHost) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.asked = append(h.asked, r.URL.String())
	h.mu.Unlock()
	if h.before != nil {
		if err := h.before(r.Context()); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: h.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(h.file)), Request: r}, nil
}

func (h *certHost) requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// payPal is PayPal as its webhooks show it, and a verifier of them.
type payPal struct {
	root     *authority
	host     *certHost
	verifier *webhook.PayPalVerifier
}

func setup(t testing.TB) payPal {
	t.Helper()
	root := newAuthority(t, nil)
	p := payPal{root: root, host: &certHost{status: http.StatusOK, file: certFile(root.signing(t, nil))}}
	p.verifier = p.newVerifier(t, webhook.PayPalConfig{})
	return p
}

func (p payPal) newVerifier(t testing.TB, cfg webhook.PayPalConfig) *webhook.PayPalVerifier {
	t.Helper()
	if cfg.WebhookIDs == nil {
		cfg.WebhookIDs = []string{webhookID}
	}
	cfg.Roots, cfg.Transport = p.root.pool(), p.host
	verifier, err := webhook.NewPayPalVerifier(cfg)
	require.NoError(t, err)
	return verifier
}

// delivery is a webhook on its way.
type delivery struct {
	id, time, webhookID, certURL, algorithm string
	body                                    []byte
	key                                     *rsa.PrivateKey
}

func genuine() delivery {
	return delivery{
		id: "69cd13f0-d67a-11e5-baa3-778b53f4ae55", time: now.Format(time.RFC3339), webhookID: webhookID,
		certURL: certURL, algorithm: "SHA256withRSA", body: []byte(eventBody), key: payPalKey(),
	}
}

// header signs the delivery as it is.
func (d delivery) header(t testing.TB) http.Header {
	t.Helper()
	digest := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", d.id, d.time, d.webhookID, crc32.ChecksumIEEE(d.body)))
	signature, err := rsa.SignPKCS1v15(nil, d.key, crypto.SHA256, digest[:])
	require.NoError(t, err)
	header := http.Header{}
	header.Set("Paypal-Transmission-Id", d.id)
	header.Set("Paypal-Transmission-Time", d.time)
	header.Set("Paypal-Transmission-Sig", base64.StdEncoding.EncodeToString(signature))
	header.Set("Paypal-Cert-Url", d.certURL)
	header.Set("Paypal-Auth-Algo", d.algorithm)
	return header
}

func (p payPal) verify(t testing.TB, d delivery) error {
	t.Helper()
	return p.verifier.Verify(t.Context(), d.header(t), d.body, now)
}

// verifyAt verifies what is sent and received at that time.
func (p payPal) verifyAt(t testing.TB, at time.Time) error {
	t.Helper()
	d := genuine()
	d.time = at.Format(time.RFC3339)
	return p.verifier.Verify(t.Context(), d.header(t), d.body, at)
}
