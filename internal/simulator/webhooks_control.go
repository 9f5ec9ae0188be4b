package simulator

import "net/http"

// webhookControlCalls steer the deliveries of one provider.
func webhookControlCalls(w *Webhooks) []controlCall {
	path := "/" + w.provider + "/webhook"
	return []controlCall{
		{
			"PUT " + path + "/faults", `what goes wrong with events: {"loss": 0.1, "duplicate": 0.1, "delay_ms": 100, "jitter_ms": 50, ` +
				`"reorder": 5, "burst": 20, "window_ms": 100, "hold": false}, all optional`, w.putFaults,
		},
		{"GET " + path + "/faults", "what goes wrong with events at present", w.getFaults},
		{"DELETE " + path + "/faults", "deliver faultlessly, what was held too", w.deleteFaults},
		{"POST " + path + "/release", `deliver held events: {"event_ids": []} in that order; all, if there are none`, w.postRelease},
		{"GET " + path + "/deliveries", "what became of the events; ?state=lost|held|pending|taken|abandoned for a part", w.getDeliveries},
	}
}

func (w *Webhooks) putFaults(r *http.Request) (any, error) {
	faults, err := decode[WebhookFaults](r)
	if err != nil {
		return nil, err
	}
	if err := w.SetFaults(faults); err != nil {
		return nil, badRequestError{err}
	}
	return faults, nil
}

func (w *Webhooks) getFaults(*http.Request) (any, error) { return w.Faults(), nil }

func (w *Webhooks) deleteFaults(*http.Request) (any, error) {
	return WebhookFaults{}, w.SetFaults(WebhookFaults{})
}

func (w *Webhooks) postRelease(r *http.Request) (any, error) {
	asked, err := decode[struct {
		EventIDs []string `json:"event_ids"`
	}](r)
	if err != nil {
		return nil, err
	}
	if err := w.Release(asked.EventIDs...); err != nil {
		return nil, badRequestError{err}
	}
	return asked, nil
}

func (w *Webhooks) getDeliveries(r *http.Request) (any, error) {
	state := DeliveryState(r.URL.Query().Get("state"))
	deliveries := []Delivery{}
	for _, d := range w.Deliveries() {
		if state == "" || d.State == state {
			deliveries = append(deliveries, d)
		}
	}
	return deliveries, nil
}

func (s *Simulator) putStripeWebhook(r *http.Request) (any, error) {
	webhook, err := decode[StripeWebhook](r)
	if err != nil {
		return nil, err
	}
	if err := s.SetStripeWebhook(webhook); err != nil {
		return nil, badRequestError{err}
	}
	return map[string]string{"url": webhook.URL}, nil
}

func (s *Simulator) putPayPalWebhook(r *http.Request) (any, error) {
	webhook, err := decode[struct {
		URL string `json:"url"`
	}](r)
	if err != nil {
		return nil, err
	}
	if err := s.SetPayPalWebhook(webhook.URL); err != nil {
		return nil, badRequestError{err}
	}
	return webhook, nil
}
