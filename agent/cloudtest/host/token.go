package host

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// signingKey is made once a process, for it takes a while.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Sprintf("cloudtest: make key: %v", err))
	}
	return key
})

// SignRS256 returns a JWT of claims, signed with the key of this process.
func SignRS256(claims map[string]any) string {
	return sign(jwt.SigningMethodRS256, claims, signingKey())
}

// SignHS256 returns a JWT of claims, signed with key.
func SignHS256(claims map[string]any, key []byte) string {
	return sign(jwt.SigningMethodHS256, claims, key)
}

func sign(method jwt.SigningMethod, claims map[string]any, key any) string {
	token, err := jwt.NewWithClaims(method, jwt.MapClaims(claims)).SignedString(key)
	if err != nil {
		panic(fmt.Sprintf("cloudtest: sign token: %v", err)) // a claim that is no JSON
	}
	return token
}

// Secret returns n random bytes as hexadecimal digits.
func Secret(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
