package webhook

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"
	"time"
)

const (
	// DefaultPayPalTolerance is how old a transmission may be. PayPal delivers an event for three
	// days until it is answered 2xx, and does not say whether a redelivery carries a new time; were
	// it the first one's, a narrower tolerance would refuse what PayPal sends again after an outage of
	// ours. The width costs nothing: an event counts once, by its id, and says only whom to look at.
	DefaultPayPalTolerance = 73 * time.Hour
	// payPalFuture is how far PayPal's clock may be ahead of ours.
	payPalFuture = 5 * time.Minute

	// payPalAlgorithm is the only one. What a sender claims must not choose how it is checked.
	payPalAlgorithm = "SHA256withRSA"
)

// PayPalConfig says what a genuine webhook of PayPal's looks like.
type PayPalConfig struct {
	// WebhookIDs are the ids of our webhooks at PayPal, which are part of what is signed: one, or
	// several while one takes another's place.
	WebhookIDs []string
	// CertHosts are the hosts, each with its port if that is not 443, from which certificates are
	// fetched; empty means PayPal's own. Certificates come over https, but over http too from a host
	// on loopback that is named here: a simulator.
	CertHosts []string
	// Roots are the authorities whose certificates are believed; nil means the system's. (An
	// intermediate authority may be among them, should PayPal's file leave it out.)
	Roots *x509.CertPool
	// Tolerance is how old a transmission may be; zero means DefaultPayPalTolerance.
	Tolerance time.Duration
	// Transport fetches certificates; nil means one of its own.
	Transport http.RoundTripper
}

// PayPalVerifier tells PayPal's webhooks from everybody else's, by the signature alone: PayPal is
// asked for nothing but its certificates, which are kept. It is safe for concurrent use.
//
// (PayPal's own verify-webhook-signature call would be a call to PayPal for each event, takes the
// body in a form that loses bytes, and knows no events of the webhook simulator. How PayPal signs:
// developer.paypal.com/api/rest/webhooks/rest.)
type PayPalVerifier struct {
	webhookIDs []string
	tolerance  time.Duration
	certs      *payPalCerts
}

var payPalWebhookID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// NewPayPalVerifier makes a verifier and calls nobody. Its errors name what is wrong with the
// configuration.
func NewPayPalVerifier(cfg PayPalConfig) (*PayPalVerifier, error) {
	if len(cfg.WebhookIDs) == 0 {
		return nil, errors.New("paypal webhooks: no webhook id is given; PayPal shows it beside the webhook's URL")
	}
	for _, id := range cfg.WebhookIDs {
		if !payPalWebhookID.MatchString(id) {
			return nil, fmt.Errorf("paypal webhooks: the webhook id %q must be letters and digits, as PayPal shows it beside the webhook's URL", id)
		}
	}
	if cfg.Tolerance <= 0 {
		cfg.Tolerance = DefaultPayPalTolerance
	}
	certs, err := newPayPalCerts(cfg)
	if err != nil {
		return nil, err
	}
	return &PayPalVerifier{webhookIDs: cfg.WebhookIDs, tolerance: cfg.Tolerance, certs: certs}, nil
}

// Verify says whether PayPal sent this body, unchanged, to one of our webhooks, not longer ago than
// is tolerated. The body must be the bytes that arrived. Its error is ErrSignature or, when a
// certificate cannot be had within two seconds or the context's time, ErrUnavailable.
//
// What PayPal signs of the body is a CRC-32, and the scheme has no nonce. So whoever has seen one
// delivery of ours, headers and all, can send it again as long as its time is tolerated, and can give
// it another body of the same checksum. An event must therefore count once, and never be believed
// further than as a hint whom to ask PayPal about; and deliveries do not belong in logs.
func (v *PayPalVerifier) Verify(ctx context.Context, header http.Header, body []byte, now time.Time) error {
	t, err := readPayPalTransmission(header)
	if err != nil {
		return err
	}
	if err := v.checkTime(t.at, now); err != nil {
		return err
	}
	key, err := v.certs.key(ctx, t.certURL, now)
	if err != nil {
		return err
	}
	for _, webhookID := range v.webhookIDs {
		digest := sha256.Sum256(t.message(webhookID, body))
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: it does not match the body, the time and the webhook id", ErrSignature)
}

func (v *PayPalVerifier) checkTime(at, now time.Time) error {
	switch {
	case at.Before(now.Add(-v.tolerance)):
		return fmt.Errorf("%w: the transmission is older than %s", ErrSignature, v.tolerance)
	case at.After(now.Add(payPalFuture)):
		return fmt.Errorf("%w: the transmission's time is more than %s ahead; check this machine's clock", ErrSignature, payPalFuture)
	}
	return nil
}

// payPalTransmission is what PayPal says of a delivery in its headers.
type payPalTransmission struct {
	id        string
	time      string // as it is written, which is what is signed
	at        time.Time
	signature []byte
	certURL   string
}

// The forms of what is signed leave no place for its separator.
var payPalTransmissionID = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

const (
	maxPayPalSignature = 1024 // base64; a key of 4096 bits makes 684
	maxPayPalTime      = 64
)

func readPayPalTransmission(header http.Header) (payPalTransmission, error) {
	if header.Get("Paypal-Auth-Algo") != payPalAlgorithm {
		return payPalTransmission{}, fmt.Errorf("%w: PAYPAL-AUTH-ALGO is not %s", ErrSignature, payPalAlgorithm)
	}
	t := payPalTransmission{
		id: header.Get("Paypal-Transmission-Id"), time: header.Get("Paypal-Transmission-Time"), certURL: header.Get("Paypal-Cert-Url"),
	}
	if !payPalTransmissionID.MatchString(t.id) {
		return payPalTransmission{}, fmt.Errorf("%w: PAYPAL-TRANSMISSION-ID is missing or no id", ErrSignature)
	}
	encoded := header.Get("Paypal-Transmission-Sig")
	if len(t.time) > maxPayPalTime || len(encoded) > maxPayPalSignature {
		return payPalTransmission{}, fmt.Errorf("%w: PAYPAL-TRANSMISSION-TIME or PAYPAL-TRANSMISSION-SIG is too long", ErrSignature)
	}
	var err error
	if t.at, err = time.Parse(time.RFC3339, t.time); err != nil {
		return payPalTransmission{}, fmt.Errorf("%w: PAYPAL-TRANSMISSION-TIME is missing or no time", ErrSignature)
	}
	if t.signature, err = base64.StdEncoding.DecodeString(encoded); err != nil || encoded == "" {
		return payPalTransmission{}, fmt.Errorf("%w: PAYPAL-TRANSMISSION-SIG is missing or not base64", ErrSignature)
	}
	return t, nil
}

// message is what PayPal signs. The checksum is of the body's bytes, in decimal.
func (t payPalTransmission) message(webhookID string, body []byte) []byte {
	return fmt.Appendf(nil, "%s|%s|%s|%d", t.id, t.time, webhookID, crc32.ChecksumIEEE(body))
}
