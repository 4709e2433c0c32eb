package account

import "slices"

// candidates are the tokens that a login may present: first one that appeared
// in the identity file, since only the cloud can say which is right. If it has
// said no, the cloud is asked once more where ours are no better.
func (k *Keeper) candidates() []Token {
	all := []Token{k.foreign, k.slots.Next, k.slots.Cur}
	if k.doubtful {
		all = []Token{k.slots.Next, k.slots.Cur}
		if k.stuck() {
			all = append(all, k.foreign)
		}
	}
	return slices.DeleteFunc(all, Token.IsZero)
}

// lost reports whether ours is past the point of no return.
func (k *Keeper) lost() bool { return past(k.now(), k.ourWindow().Closes) }

// stuck reports whether ours does not serve, as far as the cloud has said.
func (k *Keeper) stuck() bool { return k.refusedOurs || k.lost() }

// subject is the token that the next login presents. Where the cloud answers
// with an error that says nothing of the token, the next one has its turn: some
// tokens may be such that they always cause one.
func (k *Keeper) subject() Token {
	if k.Provider != nil {
		return k.slots.use()
	}
	all := k.candidates()
	if len(all) == 0 {
		return Token{}
	}
	return all[k.turn%len(all)]
}

// unjudged reports whether a token waits for the cloud's first word.
func (k *Keeper) unjudged() bool { return !k.foreign.IsZero() && !k.doubtful }

// window is that of the token on which the device depends.
func (k *Keeper) window() Window {
	if !k.foreign.IsZero() && k.lost() {
		return k.Schedule.Window(k.foreign)
	}
	return k.ourWindow()
}

// ourWindow is computed once for each token.
func (k *Keeper) ourWindow() Window {
	if use := k.slots.use(); use != k.windowOf {
		k.windowOf, k.ours = use, k.Schedule.Window(use)
	}
	return k.ours
}
