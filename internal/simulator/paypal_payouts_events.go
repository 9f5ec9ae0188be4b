package simulator

import "strings"

// payPalItemEvents are the events that tell of an item's status.
var payPalItemEvents = map[string]string{
	payPalItemSuccess:   "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
	payPalItemFailed:    "PAYMENT.PAYOUTS-ITEM.FAILED",
	payPalItemDenied:    "PAYMENT.PAYOUTS-ITEM.DENIED",
	payPalItemUnclaimed: "PAYMENT.PAYOUTS-ITEM.UNCLAIMED",
	payPalItemReturned:  "PAYMENT.PAYOUTS-ITEM.RETURNED",
	payPalItemOnHold:    "PAYMENT.PAYOUTS-ITEM.HELD",
	payPalItemBlocked:   "PAYMENT.PAYOUTS-ITEM.BLOCKED",
	payPalItemRefunded:  "PAYMENT.PAYOUTS-ITEM.REFUNDED",
	payPalItemReversed:  "PAYMENT.PAYOUTS-ITEM.REVERSED",
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
