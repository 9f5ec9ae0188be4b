package httpapi

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// Statement is what happened on a payee's account in a month.
type Statement struct {
	StatementHead

	Lines []StatementLine `json:"lines" doc:"In the order of their dates. The opening balance and the gross of every line make the closing balance."`

	StatementEnd
}

// StatementHead is what stands above the lines.
type StatementHead struct {
	PayeeID         string       `json:"payee_id" doc:"The customer's id."`
	Month           string       `json:"month" doc:"As in 2026-11, in UTC."`
	Currency        string       `json:"currency" doc:"ISO 4217, three small letters."`
	Complete        bool         `json:"complete" doc:"The month is over. One that is not is told as far as it goes."`
	AsOf            time.Time    `json:"as_of" doc:"The moment at which all of it was read."`
	OpeningBalance  money.Amount `json:"opening_balance" doc:"The closing balance of the month before."`
	OtherCurrencies []string     `json:"other_currencies,omitempty" doc:"In which the payee has statements too: ask for them with currency."`
}

// StatementEnd is what stands below the lines.
type StatementEnd struct {
	Totals         StatementTotals `json:"totals" doc:"Together they are what the balance changed by."`
	ClosingBalance money.Amount    `json:"closing_balance"`
}

// StatementLine is something that happened on a payee's account.
type StatementLine struct {
	Date        string       `json:"date" format:"date" doc:"The business date in UTC. A payout counts on the date of its run or request; one that came back is a line of its own on the date on which its money was released."`
	Kind        string       `json:"kind" enum:"earning,refund,chargeback,adjustment,write_off,payout,payout_back,partial_reversal"`
	ID          string       `json:"id" doc:"Of the earning, the operators' correction or the payout."`
	Description string       `json:"description,omitempty" doc:"The app's own."`
	Gross       money.Amount `json:"gross" doc:"What it changes the balance by: below zero for what leaves the account."`
	Fee         money.Amount `json:"fee" doc:"What of it is the payout's fee."`
	Net         money.Amount `json:"net" doc:"The gross without the fee."`
	Balance     money.Amount `json:"balance" doc:"After it."`
}

// StatementTotals add up the lines by kind.
type StatementTotals struct {
	Earnings         money.Amount `json:"earnings"`
	Refunds          money.Amount `json:"refunds"`
	Chargebacks      money.Amount `json:"chargebacks"`
	Adjustments      money.Amount `json:"adjustments" doc:"The app's and the operators'."`
	WriteOffs        money.Amount `json:"write_offs"`
	Payouts          money.Amount `json:"payouts" doc:"Without their fees."`
	PayoutFees       money.Amount `json:"payout_fees" doc:"Less those that were given back."`
	PayoutsBack      money.Amount `json:"payouts_back" doc:"Of payouts that were not paid, or came back; without their fees."`
	PartialReversals money.Amount `json:"partial_reversals" doc:"The parts that came back of payouts that stay paid."`
}

// Formats of statements, by their media types.
const (
	mediaJSON = "application/json"
	mediaCSV  = "text/csv"
)

type statementRequest struct {
	InPayee

	Month    string `path:"month" maxLength:"32" doc:"As in 2026-11, in UTC. It is the present one or one before."`
	Currency string `query:"currency" maxLength:"3" doc:"ISO 4217, three small letters; the payee's own when it is left out."`
	Format   string `query:"format" enum:"json,csv" doc:"In place of the Accept header, which counts when it is left out."`
	Accept   string `header:"Accept" doc:"application/json, or text/csv."`
}

func (a *API) routeStatements() {
	huma.Register(a.huma, a.describeStatements(keyed(huma.Operation{
		OperationID: "get-statement", Method: http.MethodGet, Path: "/v1/payees/{id}/statements/{month}", Tags: []string{tagPayouts},
		Summary: "A payee's statement of a month, as JSON or CSV",
		Description: "What happened on the payee's account, by business dates in UTC: it ends where the next month's begins. " +
			"The present month is told as far as it goes. What the app reports late, with a date in a month that is over, is added to that month.",
		Errors: []int{404, 422, 503},
	}, config.ScopePayouts)), a.getStatement)
}

// describeStatements adds the answer to the operation's description: huma knows of none that is written
// piece by piece.
func (a *API) describeStatements(o huma.Operation) huma.Operation {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Statement](), true, "")
	csvText := &huma.Schema{Type: huma.TypeString, Description: "RFC 4180, with a header row: " + strings.Join(csvColumns(), ", ") + ". " +
		"row says what a row is: opening, line, total or closing. Amounts are decimal numbers of the currency. " +
		"A description that a spreadsheet would take for a formula begins with an apostrophe."}
	o.Responses = map[string]*huma.Response{"200": {
		Description: http.StatusText(http.StatusOK),
		Content:     map[string]*huma.MediaType{mediaJSON: {Schema: schema}, mediaCSV: {Schema: csvText}},
	}}
	return o
}

func (a *API) getStatement(ctx context.Context, in *statementRequest) (*huma.StreamResponse, error) {
	month, err := payout.StatementMonth(in.Month)
	if field, wrong := errors.AsType[*customer.FieldError](err); wrong {
		return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "path.month", Message: field.Reason})
	}
	currency, err := in.currency()
	if err != nil {
		return nil, err
	}
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	return &huma.StreamResponse{Body: func(answer huma.Context) {
		w := &startedWriter{answer: answer}
		if err := payout.WriteStatement(ctx, a.deps.Pool, payee, month, currency, in.writer(w)); err != nil {
			a.breakOff(ctx, w, err)
		}
	}}, nil
}

func (in *statementRequest) currency() (money.Currency, error) {
	if in.Currency == "" {
		return "", nil
	}
	currency, err := money.ParseCurrency(in.Currency)
	if err != nil || string(currency) != in.Currency {
		return "", huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{
			Location: "query.currency", Message: "must be an ISO 4217 code in small letters, such as usd",
		})
	}
	return currency, nil
}

// writer writes in the format that was asked for.
func (in *statementRequest) writer(w *startedWriter) payout.StatementWriter {
	w.answer.SetHeader("Vary", "Accept")
	if in.Format == "csv" || in.Format == "" && negotiation.SelectQValue(in.Accept, []string{mediaJSON, mediaCSV}) == mediaCSV {
		w.mediaType = mediaCSV + "; charset=utf-8; header=present"
		lines := csv.NewWriter(w)
		lines.UseCRLF = true
		return &csvStatement{w: w, csv: lines}
	}
	w.mediaType = mediaJSON
	return &jsonStatement{w: w}
}

// breakOff answers with a problem, or, when a part of the answer is gone already, cuts the connection:
// nobody is to take a part of a statement for the whole.
func (a *API) breakOff(ctx context.Context, w *startedWriter, err error) {
	if w.started {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) { // else the client is gone
			a.log(ctx).ErrorContext(ctx, "a statement broke off", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	problem := a.fail(ctx, err)
	status := http.StatusInternalServerError
	if refused, ok := errors.AsType[huma.StatusError](problem); ok {
		status = refused.GetStatus()
	}
	_ = huma.WriteErr(a.huma, w.answer, status, problem.Error())
}

// startedWriter is the body of an answer whose head is written with its first byte, so that until then
// another answer can be given.
type startedWriter struct {
	answer      huma.Context
	mediaType   string
	disposition string // empty: none
	started     bool
}

func (s *startedWriter) Write(text []byte) (int, error) {
	if !s.started {
		s.started = true
		s.answer.SetHeader("Content-Type", s.mediaType)
		if s.disposition != "" {
			s.answer.SetHeader("Content-Disposition", s.disposition)
		}
		s.answer.SetStatus(http.StatusOK)
	}
	return s.answer.BodyWriter().Write(text)
}

func showHead(h payout.StatementHead) StatementHead {
	shown := StatementHead{
		PayeeID: h.PayeeID, Month: h.Month.String(), Currency: string(h.Currency), Complete: h.Complete, AsOf: h.AsOf, OpeningBalance: h.Opening,
	}
	for _, c := range h.OtherCurrencies {
		shown.OtherCurrencies = append(shown.OtherCurrencies, string(c))
	}
	return shown
}

func showLine(l payout.StatementLine) StatementLine {
	return StatementLine{
		Date: l.Date.String(), Kind: string(l.Kind), ID: l.ID, Description: l.Description, Gross: l.Gross, Fee: l.Fee, Net: l.Net, Balance: l.Balance,
	}
}

// jsonStatement writes a Statement, whose lines are never all there at once.
type jsonStatement struct {
	w     io.Writer
	lines int
}

func (j *jsonStatement) Head(h payout.StatementHead) error {
	return j.write(showHead(h), func(object []byte) []byte {
		return append(object[:len(object)-1], `,"lines":[`...)
	})
}

func (j *jsonStatement) Line(l payout.StatementLine) error {
	j.lines++
	return j.write(showLine(l), func(object []byte) []byte {
		if j.lines == 1 {
			return object
		}
		return append([]byte{','}, object...)
	})
}

func (j *jsonStatement) End(e payout.StatementEnd) error {
	return j.write(StatementEnd{StatementTotals(e.Totals), e.Closing}, func(object []byte) []byte {
		return append(append([]byte(`],`), object[1:]...), '\n')
	})
}

// write writes a piece of the whole, made from an object of its own.
func (j *jsonStatement) write(piece any, join func(object []byte) []byte) error {
	object, err := json.Marshal(piece)
	if err != nil {
		return err
	}
	_, err = j.w.Write(join(object))
	return err
}

// csvStatement writes a row for everything in a statement.
type csvStatement struct {
	w        *startedWriter
	csv      *csv.Writer
	head     payout.StatementHead
	currency string
}

func csvColumns() []string {
	return []string{"row", "date", "kind", "id", "description", "currency", "gross", "fee", "net", "balance"}
}

func (c *csvStatement) Head(h payout.StatementHead) error {
	c.head, c.currency = h, h.Currency.String()
	c.w.disposition = fmt.Sprintf(`attachment; filename="statement-%s-%s-%s.csv"`, h.PayeeID, h.Month, h.Currency)
	if err := c.csv.Write(csvColumns()); err != nil {
		return err
	}
	return c.csv.Write([]string{"opening", h.Month.First().String(), "", "", "", c.currency, "", "", "", h.Opening.Decimal()})
}

func (c *csvStatement) Line(l payout.StatementLine) error {
	return c.csv.Write([]string{
		"line", l.Date.String(), string(l.Kind), l.ID, noFormula(l.Description), c.currency,
		l.Gross.Decimal(), l.Fee.Decimal(), l.Net.Decimal(), l.Balance.Decimal(),
	})
}

func (c *csvStatement) End(e payout.StatementEnd) error {
	for _, t := range []struct {
		kind  string
		total money.Amount
	}{
		{"earnings", e.Totals.Earnings},
		{"refunds", e.Totals.Refunds},
		{"chargebacks", e.Totals.Chargebacks},
		{"adjustments", e.Totals.Adjustments},
		{"write_offs", e.Totals.WriteOffs},
		{"payouts", e.Totals.Payouts},
		{"payout_fees", e.Totals.PayoutFees},
		{"payouts_back", e.Totals.PayoutsBack},
		{"partial_reversals", e.Totals.PartialReversals},
	} {
		if err := c.csv.Write([]string{"total", "", t.kind, "", "", c.currency, t.total.Decimal(), "", "", ""}); err != nil {
			return err
		}
	}
	if err := c.csv.Write([]string{"closing", c.lastDay(), "", "", "", c.currency, "", "", "", e.Closing.Decimal()}); err != nil {
		return err
	}
	c.csv.Flush()
	return c.csv.Error()
}

// lastDay is that of the month, or the one on which the statement was read when the month is not over.
func (c *csvStatement) lastDay() string {
	if c.head.Complete {
		return c.head.Month.Next().First().AddDays(-1).String()
	}
	return c.head.AsOf.Format(time.DateOnly)
}

// noFormula keeps a spreadsheet from computing what somebody wrote into a description (OWASP, CSV
// injection).
func noFormula(text string) string {
	if begin := strings.TrimSpace(text); begin != "" && strings.ContainsAny(text[:1]+string([]rune(begin)[:1]), "=+-@\t\r\n＝＋－＠") {
		return "'" + text
	}
	return text
}
