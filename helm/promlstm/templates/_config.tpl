{{- /* The folder that a Secret's key is mounted in: /secrets/NAME/KEY. */ -}}
{{- define "promlstm.secretFile" -}}
/secrets/{{ .name }}/{{ .key }}
{{- end }}

{{- /* {Secret: {key: path}} of all Secrets that the way to Prometheus needs, as YAML. */ -}}
{{- define "promlstm.secrets" -}}
{{- $found := dict -}}
{{- $p := .Values.prometheus -}}
{{- range list $p.basic_auth.password_secret $p.authorization.credentials_secret $p.tls_config.ca_secret $p.tls_config.cert_secret $p.tls_config.key_secret -}}
{{- if . }}{{ $_ := set $found .name (merge (dict .key .key) (get $found .name | default dict)) }}{{ end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- /* promlstm.yml: the same words as in the values, with files instead of Secrets. */ -}}
{{- define "promlstm.config" -}}
{{- $p := .Values.prometheus -}}
{{- $to := pick $p "url" "timeout" "concurrency" "max_response" -}}
{{- range $key := list "proxy_url" "headers" "params" }}{{ with get $p $key }}{{ $_ := set $to $key . }}{{ end }}{{ end -}}
{{- range $part := list "basic_auth" "authorization" "tls_config" -}}
{{- $out := dict -}}
{{- range $key, $value := get $p $part -}}
{{- if hasSuffix "_secret" $key }}{{ $_ := set $out (printf "%s_file" (trimSuffix "_secret" $key)) (include "promlstm.secretFile" $value) }}
{{- else }}{{ $_ := set $out $key $value }}{{ end -}}
{{- end -}}
{{- if $out }}{{ $_ := set $to $part $out }}{{ end -}}
{{- end -}}
{{- $detectors := list -}}
{{- $names := dict -}}
{{- range $preset := uniq .Values.presets -}}
{{- range (fromYaml ($.Files.Get (printf "presets/%s.yml" $preset))).detectors }}{{ $detectors = append $detectors . }}{{ $_ := set $names .name (printf "preset %s" $preset) }}{{ end -}}
{{- end -}}
{{- range .Values.detectors -}}
{{- if hasKey $names .name }}{{ fail (printf "detectors: the name %s is taken by %s; names are unique" .name (get $names .name)) }}{{ end -}}
{{- $detectors = append $detectors . }}{{ $_ := set $names .name "another detector" -}}
{{- end -}}
{{- toYaml (dict "prometheus" $to "detectors" $detectors) -}}
{{- end }}
