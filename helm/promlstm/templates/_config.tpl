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

{{- define "promlstm.secretMounts" -}}
{{- range $secret, $keys := include "promlstm.secrets" . | fromYaml }}
- {name: {{ printf "secret-%s" ($secret | sha256sum | trunc 8) }}, mountPath: /secrets/{{ $secret }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "promlstm.secretVolumes" -}}
{{- range $secret, $keys := include "promlstm.secrets" . | fromYaml }}
- name: {{ printf "secret-%s" ($secret | sha256sum | trunc 8) }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
    items:
      {{- range $key, $path := $keys }}
      - {key: {{ $key | quote }}, path: {{ $path | quote }}}
      {{- end }}
{{- end }}
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
{{- $r := .Values.retraining -}}
{{- if $r.enabled -}}
{{- $own := list -}}
{{- range $detectors -}}
{{- if and (not .model) (or (not $r.detectors) (has .name $r.detectors)) }}{{ $own = append $own (merge (dict "model" "/models/retrained.onnx") .) }}{{ else }}{{ $own = append $own . }}{{ end -}}
{{- end -}}
{{- $detectors = $own -}}
{{- end -}}
{{- toYaml (dict "prometheus" $to "detectors" $detectors) -}}
{{- end }}

{{- /* Names of the detectors that run what retraining makes, as YAML {names: […]}. */ -}}
{{- define "promlstm.retrained" -}}
{{- $names := list -}}
{{- range (include "promlstm.config" . | fromYaml).detectors -}}
{{- if eq (.model | default "") "/models/retrained.onnx" }}{{ $names = append $names .name }}{{ end -}}
{{- end -}}
{{- toYaml (dict "names" $names) -}}
{{- end }}

{{- /* recipe.yml, docs/retraining.md. The job moves its spans to where they are wanted. */ -}}
{{- define "promlstm.recipe" -}}
{{- $r := .Values.retraining -}}
{{- $day := 86400 -}}
{{- $turn := mul $r.days.train $day -}}
{{- $spans := dict "train" (list (list 0 $turn)) "test" (list (list $turn (add $turn (mul $r.days.test $day)))) -}}
{{- $exclude := dict -}}
{{- range $key := list "by_hand" "silences" "alerts" }}{{ with get $r.exclude $key }}{{ $_ := set $exclude $key . }}{{ end }}{{ end -}}
{{- $data := dict "config" "promlstm.yml" "detectors" (include "promlstm.retrained" . | fromYaml).names "spans" $spans "exclude" $exclude -}}
{{- $recipe := dict "name" "retrained" "description" (printf "made by %s" (include "promlstm.retraining" .)) "family" $r.family "data" $data -}}
{{- with $r.gates }}{{ $_ := set $recipe "gates" . }}{{ end -}}
{{- toYaml $recipe -}}
{{- end }}
