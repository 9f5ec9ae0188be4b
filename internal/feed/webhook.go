package feed

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Webhook posts changes to the app, signed as Standard Webhooks says (standardwebhooks.com).
type Webhook struct {
	url     string
	signers []*standardwebhooks.Webhook
	client  *http.Client
	now     func() time.Time
}

// Bounds of a post: the specification recommends 15 to 30 seconds for an answer, of which the status
// alone is of interest.
const (
	WebhookTimeout    = 15 * time.Second
	maxWebhookAnswer  = 64 << 10
	maxWebhookHeaders = 64 << 10
	maxRetryAfter     = 4 * time.Hour
)

// NewWebhook makes a webhook. Every post is signed with all of the secrets, so that the app can take a
// new one before it lets go of the old one. A zero timeout is WebhookTimeout.
func NewWebhook(address string, secrets []string, timeout time.Duration) (*Webhook, error) {
	if err := CheckWebhookURL(address); err != nil {
		return nil, err
	}
	if timeout == 0 {
		timeout = WebhookTimeout
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: maxWebhookHeaders,
	}
	w := &Webhook{url: address, now: time.Now, client: &http.Client{
		Timeout: timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for i, secret := range secrets {
		key, err := readSecret(secret)
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		signer, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			return nil, fmt.Errorf("secret %d cannot be used: %w", i+1, err)
		}
		w.signers = append(w.signers, signer)
	}
	if len(w.signers) == 0 {
		return nil, errors.New("there is no secret to sign with")
	}
	return w, nil
}

// CheckWebhookURL says what is wrong with the address of a webhook. It does not quote it: it may have
// a password in it.
func CheckWebhookURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be an address such as https://app.example.com/webhooks/holdfast")
	case u.Scheme == "http" && !private(u.Hostname()):
		return errors.New("must begin with https: what is sent would be read on its way, except within this machine or a private network")
	}
	return nil
}

// private says that the host is this machine or in a network of our own: by its address, or by a name
// that only such a network knows.
func private(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.IsLoopback() || address.IsPrivate() || address.IsLinkLocalUnicast()
	}
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".internal")
}

// Limits of a secret in bytes, as the specification has them.
const (
	minSecret = 24
	maxSecret = 64
)

func readSecret(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("must be whsec_ and then %d to %d random bytes in base64", minSecret, maxSecret)
	}
	return key, nil
}

// Codes of posts that failed without a status of HTTP; with one it is http_503 and the like.
const (
	CodeTimeout     = "timeout"
	CodeCertificate = "certificate_invalid"
	CodeUnreachable = "unreachable"
)

// PostError is a post that the app did not take. It names neither the app's address nor its answer.
type PostError struct {
	Code       string
	RetryAfter time.Duration // as the app asked; zero when it did not
	Final      bool          // the app wants no more of it
}

func (e *PostError) Error() string { return "the app's webhook did not take the change: " + e.Code }

// Post sends a change, once. Whatever is not a 2xx is a PostError: also a redirect, which is not
// followed. The same change has the same webhook-id each time, by which the app knows it again.
func (w *Webhook) Post(ctx context.Context, c Change) error {
	body, err := payload(c)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return &PostError{Code: CodeUnreachable} // the cause quotes the address
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Holdfast")
	if err := w.sign(request.Header, webhookID(c), body); err != nil {
		return fmt.Errorf("change %d: sign: %w", c.Seq, err)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return &PostError{Code: codeOf(err)}
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxWebhookAnswer) // so that the connection can be used again
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return nil
	}
	return &PostError{
		Code:       "http_" + strconv.Itoa(response.StatusCode),
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), w.now()),
		Final:      response.StatusCode == http.StatusGone,
	}
}

func (w *Webhook) sign(header http.Header, id string, body []byte) error {
	now := w.now()
	signatures := make([]string, len(w.signers))
	for i, signer := range w.signers {
		var err error
		if signatures[i], err = signer.Sign(id, now, body); err != nil {
			return err
		}
	}
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}

// webhookID names a change. A number that is given again, as after a restored backup, is another
// change: its time tells.
func webhookID(c Change) string { return fmt.Sprintf("change-%d-%d", c.Seq, c.At.UnixMicro()) }

// payload is what is posted of a change: its own data with its number and whom it is about.
func payload(c Change) ([]byte, error) {
	data := map[string]any{}
	if err := json.Unmarshal(c.Data, &data); err != nil {
		return nil, fmt.Errorf("change %d: read its data: %w", c.Seq, err)
	}
	if data == nil {
		data = map[string]any{}
	}
	data["seq"], data["customer_id"] = c.Seq, c.CustomerID
	body, err := json.Marshal(struct {
		Type      string         `json:"type"`
		Timestamp time.Time      `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}{c.Type, c.At, data})
	if err != nil {
		return nil, fmt.Errorf("change %d: encode: %w", c.Seq, err)
	}
	return body, nil
}

func codeOf(err error) string {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &network) && network.Timeout():
		return CodeTimeout
	case errors.As(err, &certificate):
		return CodeCertificate
	default:
		return CodeUnreachable
	}
}

// retryAfter reads how long the app wishes to be left alone, within bounds.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
