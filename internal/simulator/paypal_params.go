package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"unicode/utf8"
)

// readPayPalBody is the request's JSON; a GET has none.
func readPayPalBody(r *http.Request) ([]byte, *payPalError) {
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) > 0 && !json.Valid(body) {
		return nil, payPalInvalid("", "MALFORMED_REQUEST_JSON", "The request JSON is not well formed.")
	}
	return body, nil
}

// readPayPalObject reads the body of a write.
func readPayPalObject[T any](body []byte) (object T, problem *payPalError) {
	if len(body) == 0 {
		return object, payPalInvalid("", "MISSING_REQUEST_BODY", "Request body is missing.")
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return object, payPalInvalid("", "INVALID_PARAMETER_SYNTAX", payPalSyntax)
	}
	return object, nil
}

const payPalSyntax = "The value of a field does not conform to the expected format."

// payPalText is a text in a request's body, and what PayPal's API description asks of it. Where one
// may be left out, an empty one is still refused.
type payPalText struct {
	field    string  // as a JSON pointer
	value    *string // nil when it was left out
	required bool
	least    int // characters
	most     int
	form     *regexp.Regexp // nil takes any
}

func checkPayPalTexts(texts ...payPalText) *payPalError {
	for _, t := range texts {
		if problem := t.check(); problem != nil {
			return problem
		}
	}
	return nil
}

func (t payPalText) check() *payPalError {
	switch {
	case t.value == nil && t.required:
		return payPalInvalid(t.field, "MISSING_REQUIRED_PARAMETER", "A required field is missing.")
	case t.value == nil:
		return nil
	}
	length := utf8.RuneCountInString(*t.value)
	switch {
	case length > t.most:
		return payPalInvalid(t.field, "INVALID_STRING_MAX_LENGTH", "The value of a field is too long.")
	case length < t.least:
		return payPalInvalid(t.field, "INVALID_PARAMETER_VALUE", "The value of a field is invalid.")
	case t.form != nil && !t.form.MatchString(*t.value):
		return payPalInvalid(t.field, "INVALID_PARAMETER_SYNTAX", payPalSyntax)
	}
	return nil
}
