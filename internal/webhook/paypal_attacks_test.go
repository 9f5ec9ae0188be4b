package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/webhook"
)

// TestOnlyPayPalsWayOfSigningCounts signs with PayPal's own key, in every other way.
func TestOnlyPayPalsWayOfSigningCounts(t *testing.T) {
	t.Parallel()
	p, d := setup(t), genuine()
	sum := crc32.ChecksumIEEE(d.body)
	message := func(checksum string) []byte { return []byte(d.id + "|" + d.time + "|" + d.webhookID + "|" + checksum) }
	decimal := message(fmt.Sprint(sum))
	pkcs1 := func(hash crypto.Hash, digest []byte) []byte {
		signature, err := rsa.SignPKCS1v15(nil, d.key, hash, digest)
		require.NoError(t, err)
		return signature
	}
	sha256Of := func(message []byte) []byte { digest := sha256.Sum256(message); return digest[:] }
	sha1Digest, sha512Digest := sha1.Sum(decimal), sha512.Sum512(decimal)
	pss, err := rsa.SignPSS(rand.Reader, d.key, crypto.SHA256, sha256Of(decimal), nil)
	require.NoError(t, err)
	genuine := pkcs1(crypto.SHA256, sha256Of(decimal))
	for name, signature := range map[string][]byte{
		"SHA-1":                   pkcs1(crypto.SHA1, sha1Digest[:]),
		"SHA-512":                 pkcs1(crypto.SHA512, sha512Digest[:]),
		"a digest without a name": pkcs1(0, sha256Of(decimal)),
		"PSS":                     pss,
		"the body":                pkcs1(crypto.SHA256, sha256Of(d.body)),
		"a checksum in hex":       pkcs1(crypto.SHA256, sha256Of(message(fmt.Sprintf("%x", sum)))),
		"a signed checksum":       pkcs1(crypto.SHA256, sha256Of(message(fmt.Sprint(int32(sum))))),
		"another checksum":        pkcs1(crypto.SHA256, sha256Of(message(fmt.Sprint(crc32.Checksum(d.body, crc32.MakeTable(crc32.Castagnoli)))))),
		"no checksum":             pkcs1(crypto.SHA256, sha256Of(message(""))),
		"zero":                    make([]byte, len(genuine)),
		"one":                     append(make([]byte, len(genuine)-1), 1),
		"the key's modulus":       d.key.N.Bytes(),
		"a byte in front":         append([]byte{0}, genuine...),
		"a byte behind":           append(bytes.Clone(genuine), 0),
		"a byte less":             genuine[:len(genuine)-1],
		"the modulus added":       new(big.Int).Add(new(big.Int).SetBytes(genuine), d.key.N).Bytes(),
	} {
		header := d.header(t)
		header.Set("Paypal-Transmission-Sig", base64.StdEncoding.EncodeToString(signature))
		require.ErrorIs(t, p.verifier.Verify(t.Context(), header, d.body, now), webhook.ErrSignature, name)
	}
	require.NoError(t, p.verify(t, d))
}

func TestTheAlgorithmIsNotTheSendersChoice(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for _, algorithm := range []string{
		"none", "NONE", "sha256withrsa", "SHA256WITHRSA", "SHA256withRSA ", " SHA256withRSA", "SHA256withRSA,none",
		"SHA256withRSA/PSS", "SHA256withRSAandMGF1", "SHA256withECDSA", "MD5withRSA", "HmacSHA256", "RS256",
	} {
		d := genuine()
		d.algorithm = algorithm
		require.ErrorIs(t, p.verify(t, d), webhook.ErrSignature, algorithm)
	}
	require.Empty(t, p.host.requests(), "nothing is fetched for it")
}

// TestTheChecksumIsAllThatBindsTheBody shows why an event is no more than a hint: PayPal signs a
// CRC-32, so that whoever has seen one delivery can give it another body.
func TestTheChecksumIsAllThatBindsTheBody(t *testing.T) {
	t.Parallel()
	p, d := setup(t), genuine()
	header := d.header(t)
	forged := withChecksum([]byte(`{"id":"WH-forged","event_type":"BILLING.SUBSCRIPTION.CANCELLED"}`), crc32.ChecksumIEEE(d.body))
	require.NotEqual(t, d.body, forged)

	require.NoError(t, p.verifier.Verify(t.Context(), header, forged, now))

	require.ErrorIs(t, p.verifier.Verify(t.Context(), header, append(forged, ' '), now), webhook.ErrSignature)
}

// withChecksum appends four bytes that give the body the checksum: those that lead from the body's
// own checksum to it are found backwards through the table.
func withChecksum(body []byte, want uint32) []byte {
	backwards := map[byte]byte{}
	for i, entry := range crc32.IEEETable {
		backwards[byte(entry>>24)] = byte(i)
	}
	state := ^want
	for range 4 {
		i := backwards[byte(state>>24)]
		state = (state^crc32.IEEETable[i])<<8 | uint32(i)
	}
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), state^^crc32.ChecksumIEEE(body))
}

// TestARedirectIsNotFollowed leads to where a good certificate is served.
func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
	} {
		for _, location := range []string{"https://evil.test/v1/notifications/certs/CERT-1", certURL + "x", "http://169.254.169.254/"} {
			p := setup(t)
			var asked []string
			verifier := p.verifierOver(t, func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.URL.String())
				if r.URL.String() != certURL {
					return p.host.RoundTrip(r)
				}
				return &http.Response{StatusCode: status, Header: http.Header{"Location": {location}}, Body: http.NoBody, Request: r}, nil
			})

			err := verifier.Verify(t.Context(), genuine().header(t), []byte(eventBody), now)

			require.ErrorIs(t, err, webhook.ErrSignature, "HTTP %d to %s", status, location)
			require.Equal(t, []string{certURL}, asked)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (p payPal) verifierOver(t *testing.T, transport roundTripper) *webhook.PayPalVerifier {
	t.Helper()
	verifier, err := webhook.NewPayPalVerifier(webhook.PayPalConfig{
		WebhookIDs: []string{webhookID}, Roots: p.root.pool(), Transport: transport,
	})
	require.NoError(t, err)
	return verifier
}

// TestACertificateThatUnpacksWithoutEnd is small on the wire.
func TestACertificateThatUnpacksWithoutEnd(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	pack := gzip.NewWriter(&packed)
	_, err := io.Copy(pack, io.LimitReader(endless{}, 4<<20))
	require.NoError(t, err)
	require.NoError(t, pack.Close())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	}))
	t.Cleanup(server.Close)
	verifier, err := webhook.NewPayPalVerifier(webhook.PayPalConfig{
		WebhookIDs: []string{webhookID}, CertHosts: []string{strings.TrimPrefix(server.URL, "http://")},
	})
	require.NoError(t, err)
	d := genuine()
	d.certURL = server.URL + "/v1/notifications/certs/CERT-1"

	err = verifier.Verify(t.Context(), d.header(t), d.body, now)

	require.ErrorIs(t, err, webhook.ErrSignature)
	require.ErrorContains(t, err, "too large")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counted counts what is read of an answer's body.
type counted struct {
	io.Reader

	read atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestAnEndlessAnswerIsReadNoFurtherThanACertificateIsLong(t *testing.T) {
	t.Parallel()
	p, body := setup(t), &counted{Reader: endless{}}
	verifier := p.verifierOver(t, func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: r}, nil
	})

	require.ErrorIs(t, verifier.Verify(t.Context(), genuine().header(t), []byte(eventBody), now), webhook.ErrSignature)

	require.LessOrEqual(t, body.read.Load(), int64(64<<10+1))
}

// silence ends when it is given up.
type silence <-chan struct{}

func (s silence) Read([]byte) (int, error) { <-s; return 0, context.DeadlineExceeded }

func TestAnAnswerThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		verifier := p.verifierOver(t, func(r *http.Request) (*http.Response, error) {
			begun := io.MultiReader(strings.NewReader("-----BEGIN CERT"), silence(r.Context().Done()))
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(begun), Request: r}, nil
		})
		began := time.Now()

		err := verifier.Verify(t.Context(), genuine().header(t), []byte(eventBody), now)

		require.ErrorIs(t, err, webhook.ErrUnavailable)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

// TestAStormOfCertificates has everybody ask for another certificate at the same time, most of them
// for none that there is, while PayPal's own deliveries go on.
func TestAStormOfCertificates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		require.NoError(t, p.verify(t, genuine()))
		p.host.status = http.StatusNotFound
		p.host.before = func(context.Context) error { time.Sleep(time.Second); return nil }
		genuineHeader := genuine().header(t)
		forged := genuine()
		forged.key = strangerKey()
		forgedHeader := forged.header(t)
		var all sync.WaitGroup
		for n := range 500 {
			header := forgedHeader.Clone()
			header.Set("Paypal-Cert-Url", fmt.Sprintf("%s-%d", certURL, n))
			all.Go(func() {
				if p.verifier.Verify(t.Context(), header, []byte(eventBody), now) == nil {
					t.Error("a forged delivery is taken")
				}
			})
			all.Go(func() {
				if err := p.verifier.Verify(t.Context(), genuineHeader, []byte(eventBody), now); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()

		require.Len(t, p.host.requests(), 1+9, "what a burst may ask for")
	})
}

// TestACertificateCountsForItsOwnURL poisons the store through one URL and looks at another.
func TestACertificateCountsForItsOwnURL(t *testing.T) {
	t.Parallel()
	p := setup(t)
	strangers := genuine()
	strangers.key, strangers.certURL = strangerKey(), certURL+"-other"
	template := certTemplate(certName)
	good := p.host.file
	p.host.file = certFile(p.root.issue(t, template, strangerKey().Public()))
	require.NoError(t, p.verify(t, strangers), "it is as good as PayPal's, under its own URL")

	p.host.file = good
	require.NoError(t, p.verify(t, genuine()))
	strangers.certURL = certURL
	require.ErrorIs(t, p.verify(t, strangers), webhook.ErrSignature)
	require.Equal(t, []string{certURL + "-other", certURL}, p.host.requests())
}

func TestAKeptCertificateIsNotUsedBeforeItsTime(t *testing.T) {
	t.Parallel()
	p := setup(t)
	require.NoError(t, p.verifyAt(t, now))
	require.NoError(t, p.verifyAt(t, now.AddDate(0, -1, 0)))

	require.ErrorIs(t, p.verifyAt(t, now.AddDate(0, -1, 0).Add(-time.Second)), webhook.ErrSignature, "the clock was put back")
}

func TestAKeptCertificateIsUsedNoLongerThanItsAuthorityIsGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setup(t)
		short := newAuthority(t, p.root)
		template := *short.cert
		template.NotAfter = now.Add(time.Hour)
		short.cert = p.root.issue(t, &template, short.key.Public())
		p.host.file = certFile(short.signing(t, nil), short.cert)
		require.NoError(t, p.verifyAt(t, now))
		require.NoError(t, p.verifyAt(t, now.Add(time.Hour)))
		require.Len(t, p.host.requests(), 1)

		require.ErrorIs(t, p.verifyAt(t, now.Add(time.Hour+time.Second)), webhook.ErrSignature)
	})
}

// TestACertificateInOtherClothes holds what is not quite PEM, or not quite a certificate for this.
func TestACertificateInOtherClothes(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]func(*testing.T, payPal) []byte{
		"DER": func(t *testing.T, p payPal) []byte { return p.root.signing(t, nil).Raw },
		"two certificates of PayPal's, the first a stranger's": func(t *testing.T, p payPal) []byte {
			return certFile(newAuthority(t, nil).signing(t, nil), p.root.signing(t, nil))
		},
		"a name in the list of names only": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) {
				c.Subject.CommonName, c.DNSNames = "evil.test", []string{certName}
			}))
		},
		"a name with more before it": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.Subject.CommonName = "evil.test\n" + certName }))
		},
		"a name with more behind it": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.Subject.CommonName = certName + "\x00.evil.test" }))
		},
		"a name two levels down": func(t *testing.T, p payPal) []byte {
			return certFile(p.root.signing(t, func(c *x509.Certificate) { c.Subject.CommonName = "messageverificationcerts.a.b.paypal.com" }))
		},
		"an authority that may sign no authorities' certificates": func(t *testing.T, p payPal) []byte {
			limited := newAuthority(t, p.root)
			template := *limited.cert
			template.MaxPathLen, template.MaxPathLenZero = 0, true
			limited.cert = p.root.issue(t, &template, limited.key.Public())
			below := newAuthority(t, limited)
			return certFile(below.signing(t, nil), below.cert, limited.cert)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setup(t)
			p.host.file = file(t, p)
			require.ErrorIs(t, p.verify(t, genuine()), webhook.ErrSignature)
		})
	}
}

// TestADeliverySentAgainIsAsGoodAsTheFirst until its time is too long ago: that an event counts once
// is not for the signature to say.
func TestADeliverySentAgainIsAsGoodAsTheFirst(t *testing.T) {
	t.Parallel()
	p, d := setup(t), genuine()
	header := d.header(t)
	verify := func(at time.Time) error { return p.verifier.Verify(t.Context(), header, d.body, at) }

	require.NoError(t, verify(now))
	require.NoError(t, verify(now.Add(webhook.DefaultPayPalTolerance)))
	require.ErrorIs(t, verify(now.Add(webhook.DefaultPayPalTolerance+time.Second)), webhook.ErrSignature)
	require.NoError(t, verify(now.Add(-5*time.Minute)), "our clock is behind")
	require.ErrorIs(t, verify(now.Add(-5*time.Minute-time.Second)), webhook.ErrSignature)
}

func TestTimesInOtherZonesAndForms(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for written, good := range map[string]bool{
		"2026-11-20T12:00:00Z":      true,
		"2026-11-20T12:00:00.123Z":  true,
		"2026-11-20T13:00:00+01:00": true,
		// Three days and more ago, or ahead, however it is written.
		"2026-11-20T12:00:00-07:00":                            false,
		"2026-11-17T10:00:00Z":                                 false,
		"2026-11-17T12:00:00+14:00":                            false,
		"9999-12-31T23:59:59Z":                                 false,
		"0000-01-01T00:00:00Z":                                 false,
		"Fri, 20 Nov 2026 12:00:00":                            false,
		"1795176000":                                           false,
		"2026-11-20T12:00:00." + strings.Repeat("0", 64) + "Z": false,
	} {
		d := genuine()
		d.time = written
		if err := p.verify(t, d); good {
			require.NoError(t, err, written)
		} else {
			require.ErrorIs(t, err, webhook.ErrSignature, written)
		}
	}
}

// TestHeadersThatComeTwice: the first counts, everywhere, so that nothing is checked of one and used
// of the other.
func TestHeadersThatComeTwice(t *testing.T) {
	t.Parallel()
	p, d := setup(t), genuine()
	for name := range d.header(t) {
		header := d.header(t)
		header[name] = append([]string{"other"}, header[name]...)
		require.ErrorIs(t, p.verifier.Verify(t.Context(), header, d.body, now), webhook.ErrSignature, name)
		header = d.header(t)
		header.Add(name, "other")
		require.NoError(t, p.verifier.Verify(t.Context(), header, d.body, now), name)
	}
}

func TestErrorsQuoteNothingOfTheRequest(t *testing.T) {
	t.Parallel()
	const quoted = "Q-U-O-T-E"
	p := setup(t)
	p.host.status = http.StatusNotFound
	for name := range genuine().header(t) {
		header := genuine().header(t)
		header.Set(name, quoted)
		require.NotContains(t, p.verifier.Verify(t.Context(), header, []byte(quoted), now).Error(), quoted, name)
	}
	d := genuine()
	d.certURL += quoted
	require.NotContains(t, p.verify(t, d).Error(), quoted)
	p.host.before = func(context.Context) error { return io.ErrUnexpectedEOF }
	err := p.verify(t, d)
	require.ErrorIs(t, err, webhook.ErrUnavailable)
	require.NotContains(t, err.Error(), quoted)
}
