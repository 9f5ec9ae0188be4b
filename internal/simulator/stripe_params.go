package simulator

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// params are a request's parameters: a value is a string, or params again for a hash ("a[b]=c")
// or an array ("a[0]=c", "a[]=c", keyed by position).
type params map[string]any

// paramKind is what a parameter may be.
type paramKind int

const (
	aText  paramKind = iota
	aHash            // or an empty text, which unsets it
	aRange           // a number, or a hash of bounds such as "gte"
)

// readParams reads the body of a POST and the query of any other request.
func readParams(r *http.Request) (params, *stripeError) {
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return nil, invalidRequest("", "", "Invalid request body: it is not a URL-encoded form.")
		}
		return nest(r.PostForm)
	}
	return nest(r.URL.Query())
}

func nest(flat url.Values) (params, *stripeError) {
	root := params{}
	// In order, so that the same request always fails in the same way.
	for _, name := range slices.Sorted(maps.Keys(flat)) {
		path, ok := splitName(name)
		if !ok {
			return nil, invalidRequest("parameter_unknown", name, "Invalid parameter name: "+name)
		}
		for _, value := range flat[name] {
			if !root.put(path, value) {
				return nil, invalidRequest("", path[0], "Invalid parameter: "+path[0]+" is both a value and a hash.")
			}
		}
	}
	return root, nil
}

// splitName takes "a[b][]" apart into "a", "b", "".
func splitName(name string) ([]string, bool) {
	head, rest, nested := strings.Cut(name, "[")
	if head == "" {
		return nil, false
	}
	path := []string{head}
	for nested {
		part, after, closed := strings.Cut(rest, "]")
		if !closed || strings.Contains(part, "[") {
			return nil, false
		}
		path = append(path, part)
		if after == "" {
			return path, true
		}
		if !strings.HasPrefix(after, "[") {
			return nil, false
		}
		rest = after[1:]
	}
	return path, true
}

func (p params) put(path []string, value string) bool {
	name := path[0]
	if name == "" {
		name = strconv.Itoa(len(p))
	}
	if len(path) == 1 {
		if _, isHash := p[name].(params); isHash {
			return false
		}
		p[name] = value
		return true
	}
	if p[name] == nil {
		p[name] = params{}
	}
	child, isHash := p[name].(params)
	return isHash && child.put(path[1:], value)
}

// only complains about the first parameter, in alphabetical order, that is not allowed or not of
// the kind that it should be. The simulator knows fewer parameters than Stripe: it refuses what
// it would otherwise silently ignore.
func (p params) only(allowed map[string]paramKind) *stripeError {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		kind, known := allowed[name]
		value := p[name]
		_, isHash := value.(params)
		switch {
		case !known:
			return invalidRequest("parameter_unknown", name, "Received unknown parameter: "+name)
		case kind == aRange: // readRange complains
		case kind == aText && isHash:
			return invalidRequest("", name, "Invalid string: "+name)
		case kind == aHash && !isHash && value != "":
			return invalidRequest("", name, "Invalid hash: "+name)
		}
	}
	return nil
}

func (p params) has(name string) bool {
	_, ok := p[name]
	return ok
}

// text is the value of a parameter that is known to be one; empty if it was not given.
func (p params) text(name string) string {
	value, _ := p[name].(string)
	return value
}

// hash is the content of a parameter that is known to be a hash; nil if none was given.
func (p params) hash(name string) params {
	value, _ := p[name].(params)
	return value
}

// integer is a whole number between low and high, or otherwise if it was not given.
func (p params) integer(name string, low, high, otherwise int64) (int64, *stripeError) {
	if !p.has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(p.text(name), 10, 64)
	if err != nil {
		return 0, invalidRequest("parameter_invalid_integer", name, "Invalid integer: "+p.text(name))
	}
	if n < low || n > high {
		return 0, invalidRequest("parameter_invalid_integer", name,
			"This value must be between "+strconv.FormatInt(low, 10)+" and "+strconv.FormatInt(high, 10)+".")
	}
	return n, nil
}

// boolean is true, false, or nil if it was not given.
func (p params) boolean(name string) (*bool, *stripeError) {
	if !p.has(name) {
		return nil, nil
	}
	value := p.text(name) == "true"
	if !value && p.text(name) != "false" {
		return nil, invalidRequest("", name, "Invalid boolean: "+p.text(name))
	}
	return &value, nil
}

// canonical is the same text for the same parameters in any order.
func (p params) canonical() string {
	flat := url.Values{}
	p.flatten("", flat)
	return flat.Encode()
}

func (p params) flatten(prefix string, into url.Values) {
	for name, value := range p {
		if prefix != "" {
			name = prefix + "[" + name + "]"
		}
		if child, isHash := value.(params); isHash {
			child.flatten(name, into)
			continue
		}
		text, _ := value.(string)
		into.Set(name, text)
	}
}

// checkMetadata applies Stripe's limits: 50 keys of 40 characters, values of 500.
func (p params) checkMetadata() *stripeError {
	const maxKeys, maxKey, maxValue = 50, 40, 500
	metadata := p.hash("metadata")
	if len(metadata) > maxKeys {
		return invalidRequest("", "metadata", "You can only have up to 50 metadata keys.")
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		value, isText := metadata[key].(string)
		switch {
		case !isText:
			return invalidRequest("", "metadata", "Metadata values must be strings.")
		case utf8.RuneCountInString(key) > maxKey:
			return invalidRequest("", "metadata", "Metadata keys can have up to 40 characters.")
		case utf8.RuneCountInString(value) > maxValue:
			return invalidRequest("", "metadata", "Metadata values can have up to 500 characters.")
		}
	}
	return nil
}

// mergeMetadata changes the keys that were given: an empty value unsets one, empty metadata all.
func (p params) mergeMetadata(into map[string]string) {
	if p.has("metadata") && p.hash("metadata") == nil {
		clear(into)
	}
	for key := range p.hash("metadata") {
		if value := p.hash("metadata").text(key); value != "" {
			into[key] = value
		} else {
			delete(into, key)
		}
	}
}

// values are the texts of an array, in order.
func (p params) values() []string {
	texts := make([]string, 0, len(p))
	for _, position := range p.positions() {
		texts = append(texts, p.text(position))
	}
	return texts
}

// positions are the names of an array's elements, in order.
func (p params) positions() []string {
	return slices.SortedFunc(maps.Keys(p), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // numbers of any length
	})
}
