package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Scope is what a key may do.
type Scope string

// The scopes of the API.
const (
	ScopeCustomers Scope = "customers"
	ScopePayouts   Scope = "payouts"
	ScopeOps       Scope = "ops"
)

// Key is who may call the API, and for what. The secret itself is not kept.
type Key struct {
	Name   string
	Scopes []Scope
	sum    [sha256.Size]byte
}

// May says whether the key has one of the scopes.
func (k Key) May(scopes ...Scope) bool {
	return slices.ContainsFunc(scopes, func(s Scope) bool { return slices.Contains(k.Scopes, s) })
}

// Keys are the keys of an API.
type Keys []Key

// Find gives the key with that secret. The time that it takes says nothing of the secrets.
func (k Keys) Find(secret string) (Key, bool) {
	sum := sha256.Sum256([]byte(secret))
	var found Key
	ok := false
	for _, key := range k {
		if subtle.ConstantTimeCompare(sum[:], key.sum[:]) == 1 {
			found, ok = key, true
		}
	}
	return found, ok
}

// And puts other keys beside these. A secret in both would have two meanings, and is refused.
func (k Keys) And(others Keys) (Keys, error) {
	if slices.ContainsFunc(others, k.haveSecretOf) {
		return nil, errors.New("have a secret in common")
	}
	return slices.Concat(k, others), nil
}

func (k Keys) haveSecretOf(other Key) bool {
	return slices.ContainsFunc(k, func(key Key) bool { return key.sum == other.sum })
}

var (
	keyName   = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	errKeyFmt = errors.New("must be a comma-separated list of name:secret or name:sha256:HEX, each with @customers+payouts-style scopes if they are not all")
)

// minSecret is the shortest secret that is taken.
const minSecret = 16

// ParseKeys reads a list of keys. allowed are the scopes that such keys may have, and what they
// have when none are named. Its errors say which entry is wrong, by its place, and quote none.
func ParseKeys(list string, allowed ...Scope) (Keys, error) {
	if list == "" {
		return nil, nil
	}
	var keys Keys
	for i, entry := range strings.Split(list, ",") {
		key, err := parseKey(strings.TrimSpace(entry), allowed)
		if err != nil {
			return nil, fmt.Errorf("entry %d %w", i+1, err)
		}
		if keys.haveSecretOf(key) {
			return nil, fmt.Errorf("entry %d has the secret of an entry before it", i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKey(entry string, allowed []Scope) (Key, error) {
	name, secret, ok := strings.Cut(entry, ":")
	if !ok || !keyName.MatchString(name) {
		return Key{}, errKeyFmt
	}
	key := Key{Name: name, Scopes: allowed}
	if at := strings.LastIndex(secret, "@"); at >= 0 {
		var err error
		if key.Scopes, err = parseScopes(secret[at+1:], allowed); err != nil {
			return Key{}, err
		}
		secret = secret[:at]
	}
	if digest, ok := strings.CutPrefix(secret, "sha256:"); ok {
		sum, err := hex.DecodeString(digest)
		if err != nil || len(sum) != sha256.Size {
			return Key{}, fmt.Errorf("must have 64 hexadecimal digits after sha256: (%w)", errKeyFmt)
		}
		key.sum = [sha256.Size]byte(sum)
		return key, nil
	}
	if len(secret) < minSecret {
		return Key{}, fmt.Errorf("must have a secret of at least %d characters (%w)", minSecret, errKeyFmt)
	}
	key.sum = sha256.Sum256([]byte(secret))
	return key, nil
}

func parseScopes(list string, allowed []Scope) ([]Scope, error) {
	var scopes []Scope
	for name := range strings.SplitSeq(list, "+") {
		scope := Scope(name)
		if !slices.Contains(allowed, scope) {
			return nil, fmt.Errorf("has a scope that is not one of %v", allowed)
		}
		scopes = append(scopes, scope)
	}
	return scopes, nil
}
