package simulator

import (
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
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	payPalCertsPath = "/v1/notifications/certs/"

	// DefaultPayPalWebhookID is the id of the webhook that events are signed for when the
	// configuration names none.
	DefaultPayPalWebhookID = "8PT597110X687430LKGECATA"

	// payPalCertName is the name in the certificates with which PayPal signs in the sandbox.
	payPalCertName = "messageverificationcerts.sandbox.paypal.com"
	payPalKeyBits  = 2048
)

// payPalSigner signs webhooks as PayPal does, with a certificate of an authority of its own. Both
// are made when they are first needed: it takes a while, and most tests never do.
type payPalSigner struct {
	webhookID string
	material  func() (payPalMaterial, error)
}

type payPalMaterial struct {
	key    *rsa.PrivateKey
	certID string // the last part of the certificate's URL
	chain  []byte // PEM: the certificate, without its authority's
	ca     []byte // PEM
}

func newPayPalSigner(webhookID string) *payPalSigner {
	return &payPalSigner{webhookID: webhookID, material: sync.OnceValues(newPayPalMaterial)}
}

func newPayPalMaterial() (payPalMaterial, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return payPalMaterial{}, fmt.Errorf("make the key of PayPal's certificate authority: %w", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, payPalKeyBits)
	if err != nil {
		return payPalMaterial{}, fmt.Errorf("make PayPal's signing key: %w", err)
	}
	ca := payPalCertificate(1, "Simulated certificate authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf := payPalCertificate(2, payPalCertName)
	leaf.DNSNames = []string{payPalCertName}
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return payPalMaterial{}, fmt.Errorf("make PayPal's certificate authority: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return payPalMaterial{}, fmt.Errorf("make PayPal's certificate: %w", err)
	}
	return payPalMaterial{key: key, certID: "CERT-" + rand.Text()[:16], chain: certificatePEM(leafDER), ca: certificatePEM(caDER)}, nil
}

func payPalCertificate(serial int64, name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Holdfast simulator"}},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
	}
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// CertificateAuthority is the authority of the certificate that webhooks are signed with, in PEM:
// what Holdfast is to read from PAYPAL_CERT_CA_FILE.
func (p *PayPal) CertificateAuthority() ([]byte, error) {
	material, err := p.signer.material()
	if err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	return material.ca, nil
}

// CertificateHost is the host and port from which the certificate is fetched, over http: what
// Holdfast is to read from PAYPAL_CERT_HOSTS.
func (p *PayPal) CertificateHost() string {
	base, err := url.Parse(p.baseURL())
	if err != nil {
		return ""
	}
	return base.Host
}

// WebhookID is the id of the webhook that events are signed for: PAYPAL_WEBHOOK_ID.
func (p *PayPal) WebhookID() string { return p.signer.webhookID }

// SignWebhook gives the headers under which PayPal delivers a body: signed for the webhook, as a
// transmission of that id at that time.
func (p *PayPal) SignWebhook(body []byte, transmissionID string, at time.Time) (http.Header, error) {
	material, err := p.signer.material()
	if err != nil {
		return nil, fmt.Errorf("simulator: sign a PayPal webhook: %w", err)
	}
	moment := at.UTC().Format(time.RFC3339)
	digest := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", transmissionID, moment, p.signer.webhookID, crc32.ChecksumIEEE(body)))
	signature, err := rsa.SignPKCS1v15(rand.Reader, material.key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, fmt.Errorf("simulator: sign a PayPal webhook: %w", err)
	}
	header := http.Header{}
	header.Set("Paypal-Transmission-Id", transmissionID)
	header.Set("Paypal-Transmission-Time", moment)
	header.Set("Paypal-Transmission-Sig", base64.StdEncoding.EncodeToString(signature))
	header.Set("Paypal-Cert-Url", p.baseURL()+payPalCertsPath+material.certID)
	header.Set("Paypal-Auth-Algo", "SHA256withRSA")
	return header, nil
}

func (p *PayPal) serveCertificate(w http.ResponseWriter, r *http.Request) {
	material, err := p.signer.material()
	switch {
	case err != nil:
		payPalInternalError().answer().writeTo(w)
	case r.PathValue("id") != material.certID:
		payPalNotFound().answer().writeTo(w)
	default:
		answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/x-pem-file"}}, body: material.chain}.writeTo(w)
	}
}
