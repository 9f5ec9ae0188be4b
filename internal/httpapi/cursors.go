package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// encodeCursor makes a place in a list into a text that callers give back. It is of times and texts.
func encodeCursor(place any) string {
	encoded, err := json.Marshal(place)
	if err != nil {
		panic(fmt.Sprintf("encode the cursor %T: %v", place, err))
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

// decodeCursor reads what encodeCursor made; empty is the beginning of the list. A text that is not
// one of ours, or that Postgres would not take, is a problem that names the parameter.
func decodeCursor[Place any](text string) (place Place, err error) {
	if text == "" {
		return place, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(decoded, &place)
	}
	if err != nil || encodeCursor(place) != text || strings.Contains(string(decoded), `\u0000`) {
		return place, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query.cursor", Message: "is not one of ours"})
	}
	return place, nil
}
