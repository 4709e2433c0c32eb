package host

import "encoding/json"

// wrongTypes changes the type of every value in a JSON document and keeps its
// outermost shape, which is what a careless change of the server would do.
func wrongTypes(body []byte) []byte {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return body
	}
	changed, _ := json.Marshal(wrongType(v))
	return changed
}

func wrongType(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if k == "errors" {
				v[k] = "errors"
				continue
			}
			v[k] = wrongType(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = wrongType(v[i])
		}
		return v
	case string:
		return 42
	case float64:
		return map[string]any{"value": v}
	case bool:
		return []any{v}
	}
	return false
}
