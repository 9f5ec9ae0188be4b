package simulator

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Credentials that are accepted when the configuration names none.
const (
	DefaultPayPalClientID     = "simulator-client-id"
	DefaultPayPalClientSecret = "simulator-client-secret"
)

const payPalTokenLifetime = 9 * time.Hour

// payPalAccess is who may call: the REST app's credentials, and the tokens given for them.
type payPalAccess struct {
	mu         sync.Mutex
	id, secret string
	lifetime   time.Duration
	tokens     map[string]time.Time // until when each is good
}

func newPayPalAccess(id, secret string) *payPalAccess {
	return &payPalAccess{id: id, secret: secret, lifetime: payPalTokenLifetime, tokens: map[string]time.Time{}}
}

// SetCredentials replaces the client id and secret that get tokens. Tokens that were given for the
// old ones stay good until they expire, as PayPal's do.
func (p *PayPal) SetCredentials(id, secret string) {
	p.access.mu.Lock()
	defer p.access.mu.Unlock()
	p.access.id, p.access.secret = id, secret
}

// SetTokenLifetime changes how long tokens given from now on are good; PayPal's are for 9 hours.
func (p *PayPal) SetTokenLifetime(lifetime time.Duration) {
	p.access.mu.Lock()
	defer p.access.mu.Unlock()
	p.access.lifetime = lifetime
}

// ExpireTokens makes every token worthless that was given so far, and returns how many there were.
func (p *PayPal) ExpireTokens() int {
	p.access.mu.Lock()
	defer p.access.mu.Unlock()
	given := len(p.access.tokens)
	clear(p.access.tokens)
	return given
}

// payPalOAuthError is an error of the token endpoint, and of a token that is no good.
type payPalOAuthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e payPalOAuthError) answer(status int) answer { return jsonAnswer(status, e) }

type payPalGrant struct {
	Scope       string `json:"scope"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	AppID       string `json:"app_id"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
	Nonce       string `json:"nonce"`
}

// grant is the token endpoint.
func (a *payPalAccess) grant(w http.ResponseWriter, r *http.Request) {
	execute(r.Context(), func() answer { return a.granted(r) }, payPalInternalError().answer()).writeTo(w)
}

func (a *payPalAccess) granted(r *http.Request) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	switch {
	case id != a.id || secret != a.secret:
		return payPalOAuthError{"invalid_client", "Client Authentication failed"}.answer(http.StatusUnauthorized)
	case r.PostFormValue("grant_type") != "client_credentials":
		return payPalOAuthError{"unsupported_grant_type", "Unsupported grant_type"}.answer(http.StatusBadRequest)
	}
	token := "A21AA" + rand.Text()
	a.tokens[token] = time.Now().Add(a.lifetime)
	return jsonAnswer(http.StatusOK, payPalGrant{
		Scope: "https://uri.paypal.com/services/subscriptions", AccessToken: token, TokenType: "Bearer",
		AppID: "APP-80W284485P519543T", ExpiresIn: int64(a.lifetime / time.Second), Nonce: rand.Text(),
	})
}

// check wants a good token; nil is its consent.
func (a *payPalAccess) check(r *http.Request) *answer {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return new(payPalUnauthorized().answer())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !time.Now().Before(a.tokens[token]) {
		return new(payPalOAuthError{"invalid_token", "Token signature verification failed"}.answer(http.StatusUnauthorized))
	}
	return nil
}
