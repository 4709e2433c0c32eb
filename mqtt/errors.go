package mqtt

import "errors"

var (
	// ErrOffline is returned by Publish when the message did not get into a
	// connection. The session does not keep it.
	ErrOffline = errors.New("mqtt: offline")

	// ErrUnconfirmed is returned by Publish when the connection, the context or
	// the patience of the session ended before the PUBACK. The session keeps the
	// message and sends it again on its next connections; the broker may have it
	// already.
	ErrUnconfirmed = errors.New("mqtt: not confirmed by the broker")

	// ErrFull is returned by Publish when too many messages are unconfirmed.
	ErrFull = errors.New("mqtt: too many unconfirmed messages")

	// ErrTooLarge is returned by Publish for a message above Session.MaxPacket.
	ErrTooLarge = errors.New("mqtt: message too large")

	// ErrTopic means that MQTT has no such topic or filter.
	ErrTopic = errors.New("mqtt: impossible topic")

	// ErrQoS means that a QoS above 1 was asked for.
	ErrQoS = errors.New("mqtt: impossible QoS")

	// ErrRefused means that the broker refused the credential: CONNACK 4 or 5.
	ErrRefused = errors.New("mqtt: credential refused")
)

var (
	errCredential     = errors.New("mqtt: unusable credential")
	errPacketTooLarge = errors.New("mqtt: packet of the broker larger than the limit")
	errProtocol       = errors.New("mqtt: the broker broke the protocol")
	errSilent         = errors.New("mqtt: the broker was silent")
	errNoConnack      = errors.New("mqtt: no CONNACK")
	errClosed         = errors.New("closed by the broker")
	errSuperseded     = errors.New("credential superseded")
	errAsked          = errors.New("reconnect asked for")
)
