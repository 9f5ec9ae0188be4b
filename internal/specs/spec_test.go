// Package specs_test holds our side of the providers' APIs against what the providers publish: the
// requests that the adapters send, the answers that the simulator gives, and the events that it
// delivers. The documents are no part of the project: SPECS names their folder, and without it
// these tests skip (make specs).
package specs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"
)

// folderVariable names the folder with the providers' OpenAPI documents.
const folderVariable = "SPECS"

// spec is one of a provider's OpenAPI documents.
type spec struct {
	document *openapi3.T
	router   routers.Router
}

// load reads a document, or skips the test when no folder is named.
func load(t *testing.T, file string) spec {
	t.Helper()
	folder := os.Getenv(folderVariable)
	if folder == "" {
		t.Skipf("%s names no folder with the providers' OpenAPI documents: make specs SPECS=<folder>", folderVariable)
	}
	document, err := openapi3.NewLoader().LoadFromFile(filepath.Join(folder, file))
	require.NoError(t, err)
	document.Servers = nil // whatever host stands in for the provider's
	router, err := legacy.NewRouter(document, lenient()...)
	require.NoError(t, err)
	return spec{document: document, router: router}
}

// lenient passes over what is wrong with the documents themselves.
func lenient() []openapi3.ValidationOption {
	return []openapi3.ValidationOption{
		openapi3.DisableExamplesValidation(), openapi3.DisableSchemaDefaultsValidation(), openapi3.DisableSchemaPatternValidation(),
		openapi3.AllowExtraSiblingFields("description", "readOnly", "default"),
	}
}

// strict finds everything that is wrong with a value, and says so without the whole schema.
func strict() []openapi3.SchemaValidationOption {
	return []openapi3.SchemaValidationOption{
		openapi3.MultiErrors(), openapi3.DisableSchemaErrorDetails(), openapi3.SetSchemaRegexCompiler(compilePattern),
	}
}

// compilePattern takes the few patterns for anything that only other languages can read (they look ahead).
func compilePattern(pattern string) (openapi3.RegexMatcher, error) {
	if compiled, err := regexp.Compile(pattern); err == nil {
		return compiled, nil
	}
	return regexp.MustCompile(""), nil
}

// checker stands between a client and a server, and holds what passes against a document.
type checker struct {
	spec    spec
	forward *httputil.ReverseProxy

	mu      sync.Mutex
	answers []string // "GET /v1/things/{id} 200"
	wrong   []string
}

// between gives a URL that leads to the server at target past the checks. What they find fails the
// test, unless it is expected and taken by found.
func (s spec) between(t *testing.T, target string) (*checker, string) {
	t.Helper()
	to, err := url.Parse(target)
	require.NoError(t, err)
	c := &checker{spec: s}
	c.forward = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: c.checkAnswer,
	}
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.Close()
		for _, wrong := range c.found() {
			t.Error(wrong)
		}
	})
	return c, server.URL
}

func (c *checker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.checkRequest(r); err != nil {
		c.reportf("request %s %s: %v", r.Method, r.URL.Path, err)
	}
	c.forward.ServeHTTP(w, r)
}

func (c *checker) checkRequest(r *http.Request) error {
	if c.spec.grantsTokens(r.URL.Path) {
		return nil
	}
	input, err := c.input(r)
	if err != nil {
		return err
	}
	body, err := keep(&r.Body)
	if err != nil {
		return err
	}
	err = openapi3filter.ValidateRequest(r.Context(), input)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return errors.Join(err, checkQuery(input), checkFields(bodySchema(input.Route.Operation.RequestBody), body))
}

func (c *checker) checkAnswer(answer *http.Response) error {
	r := answer.Request
	route := r.URL.Path
	if input, err := c.input(r); err == nil {
		route = input.Route.Path
		if err := checkBody(input, answer); err != nil {
			c.reportf("answer %d to %s %s: %v", answer.StatusCode, r.Method, r.URL.Path, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, fmt.Sprintf("%s %s %d", r.Method, route, answer.StatusCode))
	return nil
}

func checkBody(input *openapi3filter.RequestValidationInput, answer *http.Response) error {
	body, err := keep(&answer.Body)
	if err != nil {
		return err
	}
	described := responseOf(input.Route.Operation, answer.StatusCode)
	if described != nil && len(described.Content) == 0 && len(body) > 0 {
		return errors.New("the document describes no body")
	}
	return errors.Join(openapi3filter.ValidateResponse(answer.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.StatusCode, Header: answer.Header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: input.Options,
	}), checkFields(contentSchema(described), body))
}

// keep reads a body that others are yet to read.
func keep(body *io.ReadCloser) ([]byte, error) {
	content, err := io.ReadAll(*body)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	*body = io.NopCloser(bytes.NewReader(content))
	return content, nil
}

// input is what the document says of a request.
func (c *checker) input(r *http.Request) (*openapi3filter.RequestValidationInput, error) {
	route, params, err := c.spec.router.FindRoute(r)
	if err != nil {
		return nil, err
	}
	return &openapi3filter.RequestValidationInput{
		Request: r, Route: route, PathParams: params, Options: &openapi3filter.Options{
			AuthenticationFunc:                openapi3filter.NoopAuthenticationFunc, // the server's part
			IncludeResponseStatus:             true,
			MultiError:                        true,
			RejectWhenRequestBodyNotSpecified: true,
			SkipSettingDefaults:               true,
			SchemaValidationOptions:           strict(),
		},
	}, nil
}

// grantsTokens says that the document names the path as the one to get access tokens from, which is
// all that it says of it.
func (s spec) grantsTokens(path string) bool {
	for _, scheme := range s.document.Components.SecuritySchemes {
		if flows := scheme.Value.Flows; flows != nil && flows.ClientCredentials != nil && pathOf(flows.ClientCredentials.TokenURL) == path {
			return true
		}
	}
	return false
}

// pathOf is the path of a URL that some documents write with its host.
func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

func (c *checker) reportf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// found takes what was found to be wrong since it was last called.
func (c *checker) found() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.wrong
	c.wrong = nil
	return found
}

// seen are the answers so far, each once.
func (c *checker) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := slices.Clone(c.answers)
	slices.Sort(seen)
	return slices.Compact(seen)
}

// check holds JSON against one of the document's schemas.
func (s spec) check(schema string, value any) error {
	described, ok := s.document.Components.Schemas[schema]
	if !ok {
		return fmt.Errorf("the document has no schema %s", schema)
	}
	return errors.Join(described.Value.VisitJSON(value, strict()...), undescribed(value, "", described))
}

func checkQuery(input *openapi3filter.RequestValidationInput) error {
	for name := range input.Request.URL.Query() {
		if input.Route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("the document has no query parameter %s", name)
		}
	}
	return nil
}

func bodySchema(body *openapi3.RequestBodyRef) *openapi3.SchemaRef {
	if body == nil {
		return nil
	}
	return jsonSchema(body.Value.Content)
}

func contentSchema(response *openapi3.Response) *openapi3.SchemaRef {
	if response == nil {
		return nil
	}
	return jsonSchema(response.Content)
}

func jsonSchema(content openapi3.Content) *openapi3.SchemaRef {
	if media := content.Get("application/json"); media != nil {
		return media.Schema
	}
	return nil
}

func responseOf(operation *openapi3.Operation, status int) *openapi3.Response {
	for _, ref := range []*openapi3.ResponseRef{operation.Responses.Status(status), operation.Responses.Default()} {
		if ref != nil {
			return ref.Value
		}
	}
	return nil
}

// checkFields looks for fields that the document does not know. Few of its fields are required, so
// that a misspelled one is found only by this.
func checkFields(schema *openapi3.SchemaRef, body []byte) error {
	var value any
	if schema != nil && json.Unmarshal(body, &value) == nil { // else the validation itself complains
		return undescribed(value, "", schema)
	}
	return nil
}

// undescribed names the fields in a value that none of the schemas which apply to it knows.
func undescribed(value any, at string, schemas ...*openapi3.SchemaRef) error {
	schemas = alternatives(schemas)
	var found []error
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			known := fieldSchemas(schemas, name)
			switch {
			case len(known) > 0:
				found = append(found, undescribed(field, at+"/"+name, known...))
			case !slices.ContainsFunc(schemas, takesAnyField):
				found = append(found, fmt.Errorf("the document has no field %s/%s", at, name))
			}
		}
	case []any:
		for i, item := range value {
			found = append(found, undescribed(item, fmt.Sprintf("%s/%d", at, i), itemSchemas(schemas)...))
		}
	}
	return errors.Join(found...)
}

// alternatives adds the schemas that the schemas are made of.
func alternatives(schemas []*openapi3.SchemaRef) []*openapi3.SchemaRef {
	var all []*openapi3.SchemaRef
	for _, s := range schemas {
		all = append(all, s)
		all = append(all, alternatives(slices.Concat(s.Value.AllOf, s.Value.AnyOf, s.Value.OneOf))...)
	}
	return all
}

func fieldSchemas(schemas []*openapi3.SchemaRef, name string) []*openapi3.SchemaRef {
	var known []*openapi3.SchemaRef
	for _, s := range schemas {
		if field := s.Value.Properties[name]; field != nil {
			known = append(known, field)
		}
	}
	return known
}

func itemSchemas(schemas []*openapi3.SchemaRef) []*openapi3.SchemaRef {
	var known []*openapi3.SchemaRef
	for _, s := range schemas {
		if s.Value.Items != nil {
			known = append(known, s.Value.Items)
		}
	}
	return known
}

func takesAnyField(s *openapi3.SchemaRef) bool {
	described := s.Value.AdditionalProperties
	return described.Schema != nil || described.Has != nil && *described.Has
}
