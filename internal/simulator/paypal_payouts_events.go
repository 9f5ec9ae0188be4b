package simulator

import "strings"

// payPalItemEvent is the event that tells of an item's status.
func payPalItemEvent(status string) string {
	what := status
	switch status {
	case payPalItemSuccess:
		what = "SUCCEEDED"
	case payPalItemOnHold:
		what = "HELD"
	}
	return "PAYMENT.PAYOUTS-ITEM." + what
}

// announceBatch tells of a batch's status, without its items.
func (p *PayPal) announceBatch(b *payPalBatch) {
	header := b.shownHeader()
	header.Payments = len(b.items)
	p.emitEvent("PAYMENT.PAYOUTSBATCH."+b.status, "payouts", "1.0", "Payouts batch is "+strings.ToLower(b.status),
		payPalShownBatch{Header: header, Links: p.batchLinks(b)})
}

// announceItem tells of an item as it is now.
func (p *PayPal) announceItem(i *payPalItem, eventType string) {
	p.emitEvent(eventType, "payouts_item", "1.0", "Payouts item is "+strings.ToLower(i.status), p.shownAlone(i))
}
