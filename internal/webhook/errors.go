// Package webhook takes in what the providers tell us. An event is believed only with the
// provider's signature over its raw body, and even then it is only a hint whom to look at.
package webhook

import "errors"

var (
	// ErrSignature means that the provider did not send this, or that it cannot be shown any more:
	// answer 400. The text says what is wrong and quotes nothing of the request.
	ErrSignature = errors.New("the signature is not the provider's")
	// ErrUnavailable means that the signature could not be checked now: answer 503, and the provider
	// sends the event again.
	ErrUnavailable = errors.New("the signature cannot be checked at the moment")
	// ErrMode means that a test event came to a live Holdfast, or the other way round: answer 400.
	ErrMode = errors.New("the event is of the other mode")
)
