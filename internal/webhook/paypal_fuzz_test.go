package webhook_test

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzPayPalVerifier sends what it likes. Only what was signed is ever accepted: the same body and
// time, under the same id, with the same signature.
func FuzzPayPalVerifier(f *testing.F) {
	p := setup(f)
	signed := genuine()
	header := signed.header(f)
	signature := header.Get("Paypal-Transmission-Sig")
	f.Add(signed.id, signed.time, signature, signed.certURL, signed.algorithm, signed.body)
	f.Add(signed.id, signed.time, signature, "https://API.paypal.com:443/v1/notifications/certs/CERT-1", signed.algorithm, signed.body)
	f.Add(signed.id, signed.time, signature, "http://127.0.0.1/v1/notifications/certs/CERT-1", signed.algorithm, signed.body)
	f.Add(signed.id, "2026-11-20T12:00:00.000000000000Z", signature[1:], signed.certURL, "SHA512withRSA", []byte("{}"))
	f.Add("|", "", "====", "\x00", "", []byte(nil))

	f.Fuzz(func(t *testing.T, id, moment, signature, certURL, algorithm string, body []byte) {
		got := header.Clone()
		got.Set("Paypal-Transmission-Id", id)
		got.Set("Paypal-Transmission-Time", moment)
		got.Set("Paypal-Transmission-Sig", signature)
		got.Set("Paypal-Cert-Url", certURL)
		got.Set("Paypal-Auth-Algo", algorithm)

		err := p.verifier.Verify(t.Context(), got, body, now)

		same := id == signed.id && moment == signed.time && algorithm == signed.algorithm && bytes.Equal(body, signed.body) &&
			sameBase64(signature, header.Get("Paypal-Transmission-Sig"))
		if !same {
			require.Error(t, err)
		}
		if same && certURL == signed.certURL {
			require.NoError(t, err)
		}
	})
}

// sameBase64 ignores the line breaks that a decoder ignores.
func sameBase64(a, b string) bool {
	x, errA := base64.StdEncoding.DecodeString(a)
	y, errB := base64.StdEncoding.DecodeString(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}
