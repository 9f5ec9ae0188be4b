package webhook

// ReadPayPal reads an event that was verified.
var ReadPayPal = readPayPal
