package mqtt

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The variable header of CONNECT in MQTT 3.1.1 (section 3.1.2), counted from
// its first byte after the fixed header.
const (
	protocolName  = "\x00\x04MQTT\x04" // name and level, bytes 0 to 6
	offsetFlags   = 7                  // connect flags
	offsetKeep    = 8                  // keep alive in seconds, two bytes
	variableBytes = 10
	flagClean     = 0x02
)

// patchConnect returns a copy of a CONNECT packet with another keep alive and
// clean-session flag. The library writes 0 and false there because we keep the
// connection alive ourselves and because it would forget unacknowledged
// messages in a clean session. Both fields have a fixed size and place, so that
// no length changes.
func patchConnect(packet []byte, keepAlive time.Duration, clean bool) ([]byte, error) {
	i := 1
	for i < len(packet) && i < 4 && packet[i]&0x80 != 0 {
		i++
	}
	i++
	if len(packet) < i+variableBytes || packet[0] != typeConnect<<4 || string(packet[i:i+len(protocolName)]) != protocolName {
		return nil, fmt.Errorf("%w: first packet is not a CONNECT of MQTT 3.1.1", errProtocol)
	}
	out := append([]byte(nil), packet...)
	if clean {
		out[i+offsetFlags] |= flagClean
	}
	binary.BigEndian.PutUint16(out[i+offsetKeep:], keepSeconds(keepAlive))
	return out, nil
}

// keepSeconds is keepAlive as CONNECT says it: whole seconds, rounded up so
// that we are never later than announced. 0 means none.
func keepSeconds(keepAlive time.Duration) uint16 {
	if keepAlive <= 0 {
		return 0
	}
	return uint16(min((keepAlive+time.Second-1)/time.Second, maxField))
}
