package webhook_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/webhook"
)

func TestAGenuineWebhook(t *testing.T) {
	t.Parallel()
	p := setup(t)
	require.NoError(t, p.verify(t, genuine()))
	require.Equal(t, []string{certURL}, p.host.requests())
}

func TestAnyBodyIsVerifiedAsItArrived(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for _, body := range []string{"", "not JSON", "\x00\xff", strings.Repeat("x", 1<<20)} {
		d := genuine()
		d.body = []byte(body)
		require.NoError(t, p.verify(t, d))
	}
}

func TestHeadersInAnyCase(t *testing.T) {
	t.Parallel()
	p := setup(t)
	raw := "POST / HTTP/1.1\r\nHost: x\r\n"
	for name, values := range genuine().header(t) {
		odd := strings.ToLower(name[:9]) + strings.ToUpper(name[9:])
		raw += odd + ": " + values[0] + "\r\n"
	}
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
	require.NoError(t, err)

	require.NoError(t, p.verifier.Verify(t.Context(), request.Header, []byte(eventBody), now))
}

func TestForgedWebhooks(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(*delivery){
		"another key":              func(d *delivery) { d.key = strangerKey() },
		"another webhook":          func(d *delivery) { d.webhookID = "8PT597110X687430LKGECATB" },
		"the simulator's":          func(d *delivery) { d.webhookID = "WEBHOOK_ID" },
		"an id with our webhook's": func(d *delivery) { d.id, d.webhookID = d.id+"|"+webhookID, "other" },
		"no id":                    func(d *delivery) { d.id = "" },
		"too old": func(d *delivery) {
			d.time = now.Add(-webhook.DefaultPayPalTolerance - time.Second).Format(time.RFC3339)
		},
		"of the future":         func(d *delivery) { d.time = now.Add(5*time.Minute + time.Second).Format(time.RFC3339) },
		"no time":               func(d *delivery) { d.time = "" },
		"a time without a zone": func(d *delivery) { d.time = "2026-11-20T12:00:00" },
		"a weaker algorithm":    func(d *delivery) { d.algorithm = "SHA1withRSA" },
		"no algorithm":          func(d *delivery) { d.algorithm = "" },
		"no certificate":        func(d *delivery) { d.certURL = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, d := setup(t), genuine()
			forge(&d)
			require.ErrorIs(t, p.verify(t, d), webhook.ErrSignature)
		})
	}
}

func TestChangedOnTheWay(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for name, change := range map[string]func(http.Header, []byte) []byte{
		"the body":    func(_ http.Header, body []byte) []byte { return append(body, ' ') },
		"white space": func(_ http.Header, body []byte) []byte { return []byte(strings.Join(strings.Fields(string(body)), "")) },
		"what JSON escapes": func(_ http.Header, body []byte) []byte {
			return []byte(strings.ReplaceAll(string(body), "&", `\u0026`))
		},
		"no body":         func(http.Header, []byte) []byte { return nil },
		"the time":        set("Paypal-Transmission-Time", now.Add(time.Second).Format(time.RFC3339)),
		"the time's form": set("Paypal-Transmission-Time", now.Format("2006-01-02T15:04:05+00:00")),
		"the id":          set("Paypal-Transmission-Id", "69cd13f0"),
		"the signature":   set("Paypal-Transmission-Sig", base64.StdEncoding.EncodeToString([]byte("signed"))),
		"not base64":      set("Paypal-Transmission-Sig", "…"),
		"endless":         set("Paypal-Transmission-Sig", strings.Repeat("AAAA", 1000)),
		"no signature":    set("Paypal-Transmission-Sig", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := genuine()
			header := d.header(t)
			body := change(header, []byte(eventBody))
			require.ErrorIs(t, p.verifier.Verify(t.Context(), header, body, now), webhook.ErrSignature)
		})
	}
	require.ErrorIs(t, p.verifier.Verify(t.Context(), http.Header{}, []byte(eventBody), now), webhook.ErrSignature)
}

func set(name, value string) func(http.Header, []byte) []byte {
	return func(header http.Header, body []byte) []byte {
		header.Set(name, value)
		return body
	}
}

func TestTimesThatAreTolerated(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for _, ago := range []time.Duration{0, time.Hour, 72 * time.Hour, webhook.DefaultPayPalTolerance, -5 * time.Minute} {
		d := genuine()
		d.time = now.Add(-ago).Format(time.RFC3339)
		require.NoError(t, p.verify(t, d), "%s", ago)
	}
	p.verifier = p.newVerifier(t, webhook.PayPalConfig{Tolerance: time.Minute})
	d := genuine()
	d.time = now.Add(-61 * time.Second).Format(time.RFC3339)
	require.ErrorIs(t, p.verify(t, d), webhook.ErrSignature)
}

func TestOneWebhookTakesAnothersPlace(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.verifier = p.newVerifier(t, webhook.PayPalConfig{WebhookIDs: []string{"OLD", webhookID}})
	require.NoError(t, p.verify(t, genuine()))
	d := genuine()
	d.webhookID = "OLD"
	require.NoError(t, p.verify(t, d))
}

func TestOnlyPayPalsCertificatesAreAskedFor(t *testing.T) {
	t.Parallel()
	p := setup(t)
	const path = "/v1/notifications/certs/CERT-1"
	for _, address := range []string{
		"http://api.paypal.com" + path,
		"ftp://api.paypal.com" + path,
		"https://api.paypal.com.evil.test" + path,
		"https://evil.test/api.paypal.com" + path,
		"https://api.paypal.com@evil.test" + path,
		"https://evil.test#api.paypal.com" + path,
		"https://api.paypa1.com" + path,
		"https://api.pаypal.com" + path, // a Cyrillic letter
		"https://apixpaypal.com" + path,
		"https://www.paypal.com" + path,
		"https://apİ.paypal.com" + path, // a letter that becomes an i in lower case
		"https://api.paypal.com\\@evil.test" + path,
		"https://api.paypal.com%40evil.test" + path,
		"https://api.paypal.com%2f@evil.test" + path,
		"https://api.paypal.com/@evil.test" + path,
		"https://api.paypal.com:443@evil.test" + path,
		"https://@api.paypal.com" + path,
		"https://api.paypal.com:@evil.test" + path,
		"https:api.paypal.com" + path,
		"https:/api.paypal.com" + path,
		"https:///api.paypal.com" + path,
		"https:\\\\api.paypal.com" + path,
		" https://api.paypal.com" + path,
		"https://api.paypal.com\t" + path,
		"https://api.paypal.com" + path + "\n",
		"https://api.paypal.com" + path + " ",
		"https://api.paypal.com" + path + "\x00",
		"https://api.paypal.com" + path + ";a=b",
		"https://api.paypal.com" + path + "/",
		"https://api.paypal.com" + path + "/../../../oauth2/token",
		"https://api.paypal.com//v1/notifications/certs/CERT-1",
		"https://api.paypal.com/v1/notifications/certs/CERT-1%0d%0aX:y",
		"https://api.paypal.com/v1/notifications/certs/" + strings.Repeat("A", 201),
		"https://api.paypal.com:" + path,
		"https://api.paypal.com:0443" + path,
		"https://api.paypal.com:80" + path,
		"https://api.paypal.com:443:443" + path,
		"https://[api.paypal.com]" + path,
		"https://[::1]" + path,
		"https://0x7f000001" + path,
		"https://localhost" + path,
		"http://localhost" + path,
		"file:///etc/ssl/certs/CERT-1",
		"data:,https://api.paypal.com" + path,
		"https://api.paypal.com." + path,
		"https://api.paypal.com:444" + path,
		"https://user:pw@api.paypal.com" + path,
		"https://127.0.0.1" + path,
		"http://127.0.0.1" + path,
		"http://169.254.169.254" + path,
		"https://api.paypal.com" + path + "?a=b",
		"https://api.paypal.com" + path + "?",
		"https://api.paypal.com" + path + "#a",
		"https://api.paypal.com/v1/notifications/certs/",
		"https://api.paypal.com/v1/notifications/certs/../../oauth2/token",
		"https://api.paypal.com/v1/notifications/certs/%2e%2e",
		"https://api.paypal.com/",
		"//api.paypal.com" + path,
		"api.paypal.com" + path,
		"https://",
		"\x7f",
	} {
		d := genuine()
		d.certURL = address
		require.ErrorIs(t, p.verify(t, d), webhook.ErrSignature, address)
	}
	require.Empty(t, p.host.requests())

	for _, address := range []string{
		"https://API.PayPal.com" + path, "https://api.paypal.com:443" + path, "https://api-m.sandbox.paypal.com" + path,
	} {
		d := genuine()
		d.certURL = address
		require.NoError(t, p.verify(t, d), address)
	}
	require.Equal(t, []string{"https://api.paypal.com" + path, "https://api-m.sandbox.paypal.com" + path}, p.host.requests())
}

func TestPlainHTTPIsForNamedHostsOnLoopback(t *testing.T) {
	t.Parallel()
	p := setup(t)
	const path = "/v1/notifications/certs/CERT-1"
	p.verifier = p.newVerifier(t, webhook.PayPalConfig{CertHosts: []string{"127.0.0.1:4711", "[::1]:4711", "localhost", "simulator.test"}})
	for address, good := range map[string]bool{
		"http://127.0.0.1:4711" + path: true, "http://[::1]:4711" + path: true, "http://localhost" + path: true,
		"https://simulator.test" + path: true, "http://simulator.test" + path: false,
		"http://127.0.0.1:4712" + path: false, "http://127.0.0.1" + path: false, certURL: false,
	} {
		d := genuine()
		d.certURL = address
		if err := p.verify(t, d); good {
			require.NoError(t, err, address)
		} else {
			require.ErrorIs(t, err, webhook.ErrSignature, address)
		}
	}
}

func TestOnlyPayPalsOwnCertificateIsBelieved(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]func(*testing.T, payPal) []byte{
		"expired": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }))
		},
		"not yet": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }))
		},
		"of another authority": func(t *testing.T, _ payPal) []byte {
			return certFile(newAuthority(t, nil).signing(t, nil))
		},
		"of another authority that it brings along": func(t *testing.T, _ payPal) []byte {
			other := newAuthority(t, nil)
			return certFile(other.signing(t, nil), other.cert)
		},
		"without its intermediate authority": func(t *testing.T, p payPal) []byte {
			return certFile(newAuthority(t, p.root).signing(t, nil))
		},
		"of one that is no authority": func(t *testing.T, p payPal) []byte {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			mere := &authority{cert: p.root.issue(t, certTemplate("mere"), key.Public()), key: key}
			return certFile(mere.signing(t, nil), mere.cert)
		},
		"for somebody else": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.Subject.CommonName = "evil.test" }))
		},
		"for a name like PayPal's": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.Subject.CommonName = certName + ".evil.test" }))
		},
		"for PayPal's web site": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.Subject.CommonName = "www.paypal.com" }))
		},
		"for mail": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
			}))
		},
		"not for signatures": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))
		},
		"with a key of another kind": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.issue(t, certTemplate(certName), p.root.key.Public()))
		},
		"with a short key": func(t *testing.T, p payPal) []byte {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			require.NoError(t, err)
			return certFile(p.root.issue(t, certTemplate(certName), key.Public()))
		},
		"a page":  func(*testing.T, payPal) []byte { return []byte("<html>") },
		"nothing": func(*testing.T, payPal) []byte { return nil },
		"PEM of nothing": func(*testing.T, payPal) []byte {
			return []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
		"oversized": func(t *testing.T, p payPal) []byte {
			return append([]byte(strings.Repeat("\n", 64<<10)), certFile(p.root.signing(t, nil))...)
		},
		"at the end of many": func(t *testing.T, p payPal) []byte {
			var many []*x509.Certificate
			for range 10 {
				many = append(many, p.root.cert)
			}
			return certFile(append(many, p.root.signing(t, nil))...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setup(t)
			p.host.file = file(t, p)
			require.ErrorIs(t, p.verify(t, genuine()), webhook.ErrSignature)

			p.host.file = certFile(p.root.signing(t, nil))
			require.NoError(t, p.verify(t, genuine()), "a bad certificate is not kept")
		})
	}
}

func TestAChainOverAnIntermediateAuthority(t *testing.T) {
	t.Parallel()
	p := setup(t)
	intermediate := newAuthority(t, p.root)
	for _, file := range [][]byte{
		certFile(intermediate.signing(t, nil), intermediate.cert),
		certFile(p.root.cert, intermediate.cert, intermediate.signing(t, nil)),
	} {
		p.host.file = file
		p.verifier = p.newVerifier(t, webhook.PayPalConfig{})
		require.NoError(t, p.verify(t, genuine()))
	}
}

func TestACertificateIsFetchedOnceAndUntilItExpires(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for range 3 {
		require.NoError(t, p.verify(t, genuine()))
	}
	require.Len(t, p.host.requests(), 1)

	later := now.AddDate(0, 2, 0) // the certificate has expired
	require.ErrorIs(t, p.verifyAt(t, later), webhook.ErrSignature)

	p.host.file = certFile(p.root.signing(t, func(c *x509.Certificate) { c.NotAfter = later.AddDate(1, 0, 0) }))
	require.NoError(t, p.verifyAt(t, later))
}

func TestACertificateIsLookedForAgainDaily(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		require.NoError(t, p.verifyAt(t, now))
		require.NoError(t, p.verifyAt(t, now.Add(24*time.Hour-time.Second)))
		require.Len(t, p.host.requests(), 1)
		// It takes a while, for which nobody waits.
		p.host.before = func(context.Context) error { time.Sleep(time.Second); return nil }
		began := time.Now()
		for range 3 {
			require.NoError(t, p.verifyAt(t, now.Add(24*time.Hour)))
		}
		require.Equal(t, began, time.Now())
		time.Sleep(2 * time.Second)
		require.NoError(t, p.verifyAt(t, now.Add(47*time.Hour)))
		require.Len(t, p.host.requests(), 2)

		p.host.status, p.host.before = http.StatusNotFound, nil
		require.NoError(t, p.verifyAt(t, now.Add(49*time.Hour)))
		synctest.Wait()
		require.ErrorIs(t, p.verifyAt(t, now.Add(49*time.Hour)), webhook.ErrSignature, "PayPal has taken it away")
	})
}

func TestACertificateIsUsedWhilePayPalDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		require.NoError(t, p.verifyAt(t, now))
		p.host.status = http.StatusServiceUnavailable
		for _, passed := range []time.Duration{24 * time.Hour, 24*time.Hour + 59*time.Second} {
			require.NoError(t, p.verifyAt(t, now.Add(passed)))
			synctest.Wait()
			require.Len(t, p.host.requests(), 2)
		}
		require.NoError(t, p.verifyAt(t, now.Add(24*time.Hour+time.Minute)))
		synctest.Wait()
		require.Len(t, p.host.requests(), 3, "a minute later it is tried again")

		require.ErrorIs(t, p.verifyAt(t, now.AddDate(0, 2, 0)), webhook.ErrUnavailable, "but not longer than it is good")
	})
}

func TestWhoeverWaitsForACertificateWaitsForTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		p.host.before = func(context.Context) error { time.Sleep(time.Second); return nil }
		header, body := genuine().header(t), []byte(eventBody)
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		left := make(chan error)
		go func() { left <- p.verifier.Verify(hasty, header, body, now) }()
		synctest.Wait()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { require.NoError(t, p.verifier.Verify(t.Context(), header, body, now)) })
		}

		err := <-left
		require.ErrorIs(t, err, webhook.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		all.Wait()
		require.Len(t, p.host.requests(), 1)
	})
}

func TestAHostThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, break_ := range map[string]func(*certHost){
		"500":     func(h *certHost) { h.status = http.StatusInternalServerError },
		"503":     func(h *certHost) { h.status = http.StatusServiceUnavailable },
		"429":     func(h *certHost) { h.status = http.StatusTooManyRequests },
		"network": func(h *certHost) { h.before = func(context.Context) error { return errors.New("refused") } },
		"silence": func(h *certHost) { h.before = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := setup(t)
				break_(p.host)
				began := time.Now()

				err := p.verify(t, genuine())

				require.ErrorIs(t, err, webhook.ErrUnavailable)
				require.NotErrorIs(t, err, webhook.ErrSignature)
				require.LessOrEqual(t, time.Since(began), 2*time.Second)
			})
		})
	}
}

func TestACertificateThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden, http.StatusFound, http.StatusNoContent} {
		p := setup(t)
		p.host.status = status
		require.ErrorIs(t, p.verify(t, genuine()), webhook.ErrSignature, "HTTP %d", status)
		require.Len(t, p.host.requests(), 1)
	}
}

func TestNobodyMakesUsAskForCertificatesWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		require.NoError(t, p.verify(t, genuine()))
		p.host.status = http.StatusNotFound
		for n := range 1000 {
			d := genuine()
			d.certURL = fmt.Sprintf("https://api.paypal.com/v1/notifications/certs/CERT-%d", n)
			require.Error(t, p.verify(t, d))
		}
		require.Len(t, p.host.requests(), 10)

		require.NoError(t, p.verify(t, genuine()), "what is kept is not concerned")
		time.Sleep(time.Second)
		d := genuine()
		d.certURL += "x"
		require.ErrorIs(t, p.verify(t, d), webhook.ErrSignature, "and it is looked again later")
	})
}

func TestOnlySoManyCertificatesAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		ask := func(n int) {
			d := genuine()
			d.certURL = fmt.Sprintf("%s-%d", certURL, n)
			require.NoError(t, p.verify(t, d))
			time.Sleep(time.Second) // the pace of fetches
		}
		for n := range 17 {
			p.host.file = certFile(p.root.signing(t, func(c *x509.Certificate) { c.NotAfter = now.Add(time.Duration(n+1) * time.Hour) }))
			ask(n)
		}
		ask(16)
		ask(1)
		require.Len(t, p.host.requests(), 17)
		ask(0)
		require.Len(t, p.host.requests(), 18, "the one that expires first made room")
	})
}

func TestNewPayPalVerifierSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for complaint, cfg := range map[string]webhook.PayPalConfig{
		"no webhook id is given":        {},
		`the webhook id "a b"`:          {WebhookIDs: []string{"a b"}},
		`the webhook id ""`:             {WebhookIDs: []string{""}},
		`host "https://api.paypal.com"`: {WebhookIDs: []string{"A"}, CertHosts: []string{"https://api.paypal.com"}},
		`host "a/b"`:                    {WebhookIDs: []string{"A"}, CertHosts: []string{"a/b"}},
		`host ""`:                       {WebhookIDs: []string{"A"}, CertHosts: []string{""}},
		`host ":443"`:                   {WebhookIDs: []string{"A"}, CertHosts: []string{":443"}},
		`host "u@h"`:                    {WebhookIDs: []string{"A"}, CertHosts: []string{"u@h"}},
		`host "*.paypal.com"`:           {WebhookIDs: []string{"A"}, CertHosts: []string{"*.paypal.com"}},
		`host "api.paypal.com:"`:        {WebhookIDs: []string{"A"}, CertHosts: []string{"api.paypal.com:"}},
		`host "h:https"`:                {WebhookIDs: []string{"A"}, CertHosts: []string{"h:https"}},
		`host " api.paypal.com"`:        {WebhookIDs: []string{"A"}, CertHosts: []string{"api.paypal.com", " api.paypal.com"}},
	} {
		_, err := webhook.NewPayPalVerifier(cfg)
		require.ErrorContains(t, err, complaint)
	}
}

func TestReadCertPool(t *testing.T) {
	t.Parallel()
	pool, err := webhook.ReadCertPool("")
	require.NoError(t, err)
	require.Nil(t, pool)

	root := newAuthority(t, nil)
	good, bad := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "bad.pem")
	require.NoError(t, os.WriteFile(good, certFile(root.cert), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte("nothing"), 0o600))
	pool, err = webhook.ReadCertPool(good)
	require.NoError(t, err)
	require.True(t, pool.Equal(root.pool()))
	_, err = webhook.ReadCertPool(bad)
	require.ErrorContains(t, err, "holds no certificate")
	_, err = webhook.ReadCertPool(bad + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTheSimulatorsWebhooks(t *testing.T) {
	t.Parallel()
	sim, err := simulator.Start(t.Context(), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	ca, err := sim.PayPal().CertificateAuthority()
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	verifier, err := webhook.NewPayPalVerifier(webhook.PayPalConfig{
		WebhookIDs: []string{sim.PayPal().WebhookID()}, CertHosts: []string{sim.PayPal().CertificateHost()}, Roots: roots,
	})
	require.NoError(t, err)
	body, moment := []byte(eventBody), time.Now()
	header, err := sim.PayPal().SignWebhook(body, "69cd13f0-d67a-11e5-baa3-778b53f4ae55", moment)
	require.NoError(t, err)

	require.NoError(t, verifier.Verify(t.Context(), header, body, moment))
	require.ErrorIs(t, verifier.Verify(t.Context(), header, body[1:], moment), webhook.ErrSignature)

	require.NoError(t, sim.SetFaults(simulator.Fault{Kind: simulator.Unavailable, Provider: "paypal"}))
	header.Set("Paypal-Cert-Url", header.Get("Paypal-Cert-Url")+"x")
	require.ErrorIs(t, verifier.Verify(t.Context(), header, body, moment), webhook.ErrUnavailable)
}
