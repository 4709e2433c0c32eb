package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
)

//go:embed web
var web embed.FS

// types are those of the page's files.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// pages serves the embedded files. A browser may keep them, and asks whether
// they are still the same.
func pages() http.Handler {
	mux := http.NewServeMux()
	entries, err := web.ReadDir("web")
	if err != nil {
		panic(fmt.Sprintf("console: embedded files: %v", err))
	}
	for _, entry := range entries {
		name := entry.Name()
		text, err := web.ReadFile("web/" + name)
		if err != nil {
			panic(fmt.Sprintf("console: embedded file: %v", err))
		}
		sum := sha256.Sum256(text)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		place := "GET /" + name
		if name == "index.html" {
			place = "GET /{$}"
		}
		mux.HandleFunc(place, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", types[path.Ext(name)])
			h.Set("Cache-Control", "no-cache")
			h.Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			w.Write(text)
		})
	}
	return mux
}
