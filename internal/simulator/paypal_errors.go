package simulator

import "net/http"

// payPalError is an error as PayPal words it.
type payPalError struct {
	status int

	Name    string              `json:"name"`
	Message string              `json:"message"`
	DebugID string              `json:"debug_id"`
	Details []payPalErrorDetail `json:"details,omitempty"`
	Links   []payPalLink        `json:"links"`
}

type payPalErrorDetail struct {
	Field       string `json:"field,omitempty"`
	Location    string `json:"location,omitempty"`
	Issue       string `json:"issue"`
	Description string `json:"description"`
}

type payPalLink struct {
	Href   string `json:"href"`
	Rel    string `json:"rel"`
	Method string `json:"method"`
}

func newPayPalError(status int, name, message string, details ...payPalErrorDetail) *payPalError {
	return &payPalError{
		status: status, Name: name, Message: message, DebugID: newDebugID(), Details: details,
		Links: []payPalLink{{
			Href: "https://developer.paypal.com/api/rest/reference/orders/v2/errors/#" + name,
			Rel:  "information_link", Method: http.MethodGet,
		}},
	}
}

func (e *payPalError) answer() answer {
	a := jsonAnswer(e.status, e)
	a.header.Set("Paypal-Debug-Id", e.DebugID)
	return a
}

func payPalUnauthorized() *payPalError {
	return newPayPalError(http.StatusUnauthorized, "AUTHENTICATION_FAILURE",
		"Authentication failed due to missing authorization header, or invalid authentication credentials.")
}

func payPalTooManyRequests() *payPalError {
	return newPayPalError(http.StatusTooManyRequests, "RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting.")
}

func payPalInternalError() *payPalError {
	return newPayPalError(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "An internal server error occurred.")
}

func payPalConflict() *payPalError {
	return newPayPalError(http.StatusConflict, "RESOURCE_CONFLICT",
		"The server has detected a conflict while processing this request.", payPalErrorDetail{
			Issue: "PREVIOUS_REQUEST_IN_PROGRESS", Description: "A previous request on this resource is currently in progress.",
		})
}

func payPalNotFound() *payPalError {
	return newPayPalError(http.StatusNotFound, "RESOURCE_NOT_FOUND", "The specified resource does not exist.", payPalErrorDetail{
		Issue:       "INVALID_RESOURCE_ID",
		Description: "Specified resource ID does not exist. Please check the resource ID and try again.",
	})
}

func payPalInvalid(field, issue, description string) *payPalError {
	return newPayPalError(http.StatusBadRequest, "INVALID_REQUEST",
		"Request is not well-formed, syntactically incorrect, or violates schema.",
		payPalErrorDetail{Field: field, Location: "body", Issue: issue, Description: description})
}

func payPalUnprocessable(issue, description string) *payPalError {
	return newPayPalError(http.StatusUnprocessableEntity, "UNPROCESSABLE_ENTITY",
		"The requested action could not be performed, semantically incorrect, or failed business validation.",
		payPalErrorDetail{Issue: issue, Description: description})
}
