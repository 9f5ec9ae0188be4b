package httpapi

import (
	"strings"

	"github.com/holdfast/holdfast/internal/customer"
)

// OptionalNote is the body of a call that may say why.
type OptionalNote struct {
	Note string `json:"note,omitempty" maxLength:"1000" doc:"Why; recorded with your key's name."`
}

// Noted is the part of a request that may say why; its body may be missing.
type Noted struct {
	Body *OptionalNote
}

func (n Noted) note() string {
	if n.Body == nil {
		return ""
	}
	return n.Body.Note
}

// checkNote refuses a note that cannot be recorded.
func checkNote(note string) error {
	if unstorable(note) {
		return &customer.FieldError{Field: "note", Reason: "must not have a NUL in it"}
	}
	return nil
}

// unstorable says that Postgres takes no such text.
func unstorable(text string) bool {
	return strings.ContainsRune(text, 0)
}
