{{- /* Comes first in every template: values that lack nothing, and of which none cannot work. */ -}}
{{- define "promlstm.begin" -}}
{{- $_ := include "promlstm.fill" (dict "values" .Values "defaults" (.Files.Get "defaults.yaml" | fromYaml) "path" "") -}}
{{- $_ := include "promlstm.refuse" . -}}
{{- end }}

{{- /* Maps that are replaced key by key, as those of labels are: a key that was taken out stays out. */ -}}
{{- define "promlstm.whole" -}}
[resources, dashboards.labels, retraining.resources, retraining.exclude.alerts]
{{- end }}

{{- /*
Helm takes a value that is null out of the values, default and all, and leaves null where there is no default. Here, in place: a value is
its default again; a list, or a map whose keys are the user's, is empty; and what is null below them is gone.
*/ -}}
{{- define "promlstm.fill" -}}
{{- range $key, $default := .defaults -}}
{{- $path := printf "%s%s" $.path $key -}}
{{- $value := index $.values $key -}}
{{- $isGroup := and (kindIs "map" $default) $default (not (has $path (include "promlstm.whole" . | fromYamlArray))) -}}
{{- if kindIs "invalid" $value -}}
{{- $value = kindIs "map" $default | ternary (dict) (kindIs "slice" $default | ternary (list) $default) -}}
{{- end -}}
{{- if $isGroup -}}
{{- $_ := include "promlstm.fill" (dict "values" $value "defaults" $default "path" (printf "%s." $path)) -}}
{{- else if ne $path "extraObjects" -}}
{{- $_ := include "promlstm.prune" (dict "tree" $value "path" $path) -}}
{{- end -}}
{{- $_ := set $.values $key $value -}}
{{- end -}}
{{- end }}

{{- /* Takes out of maps, at any depth of {tree, path}, what is null; a list has no place for it. */ -}}
{{- define "promlstm.prune" -}}
{{- $tree := .tree -}}
{{- if kindIs "map" $tree -}}
{{- range $key := keys $tree -}}
{{- $value := index $tree $key -}}
{{- if kindIs "invalid" $value }}{{ $_ := unset $tree $key }}{{ else }}{{ $_ := include "promlstm.prune" (dict "tree" $value "path" (printf "%s.%s" $.path $key)) }}{{ end -}}
{{- end -}}
{{- else if kindIs "slice" $tree -}}
{{- range $i, $value := $tree -}}
{{- if kindIs "invalid" $value }}{{ fail (printf "%s[%d] is null: set a value, or remove it" $.path $i) }}{{ end -}}
{{- $_ := include "promlstm.prune" (dict "tree" $value "path" (printf "%s[%d]" $.path $i)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* A number as YAML 1.1 has it, which promlstm reads: one with an exponent has a point. Helm's own 1e-05 would be text there. */ -}}
{{- define "promlstm.number" -}}
{{ regexReplaceAll "^(-?[0-9]+)e" (toJson .) "${1}.0e" }}
{{- end }}

{{- /* toYaml of {tree, numbers}: what stands under a key of those names, or in a list there, as such a number. */ -}}
{{- define "promlstm.yaml" -}}
{{- $tree := deepCopy .tree -}}
{{- $_ := include "promlstm.mark" (dict "tree" $tree "numbers" .numbers) -}}
{{ regexReplaceAll "(?m)([:-] )<number ([-+.0-9e]+)>$" (toYaml $tree) "${1}${2}" }}
{{- end }}

{{- define "promlstm.mark" -}}
{{- if kindIs "slice" .tree -}}
{{- range .tree }}{{ $_ := include "promlstm.mark" (dict "tree" . "numbers" $.numbers) }}{{ end -}}
{{- else if kindIs "map" .tree -}}
{{- range $key, $value := .tree -}}
{{- if and (has $key $.numbers) (kindIs "slice" $value) -}}
{{- $marked := list -}}
{{- range $value }}{{ $marked = append $marked (printf "<number %s>" (include "promlstm.number" .)) }}{{ end -}}
{{- $_ := set $.tree $key $marked -}}
{{- else if and (has $key $.numbers) (has (kindOf $value) (list "float64" "int" "int64")) -}}
{{- $_ := set $.tree $key (printf "<number %s>" (include "promlstm.number" $value)) -}}
{{- else -}}
{{- $_ := include "promlstm.mark" (dict "tree" $value "numbers" $.numbers) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Milliseconds of a duration such as 1h30m. */ -}}
{{- define "promlstm.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "w" 604800000 "y" 31536000000 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9]+(ms|[smhdwy])" . -1 -}}
{{- $count := regexFind "^[0-9]+" . -}}
{{- $sum = addf $sum (mulf (float64 $count) (get $units (trimPrefix $count .))) -}}
{{- end -}}
{{ $sum }}
{{- end }}

{{- /* A duration as promlstm writes it into a label: 60m is 1h, 1w is 7d. */ -}}
{{- define "promlstm.duration" -}}
{{- $rest := include "promlstm.milliseconds" . | float64 | int64 -}}
{{- range list (list "d" 86400000) (list "h" 3600000) (list "m" 60000) (list "s" 1000) (list "ms" 1) -}}
{{- $count := div $rest (index . 1) -}}
{{- $rest = mod $rest (index . 1) -}}
{{- if $count }}{{ $count }}{{ index . 0 }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* A quantity as the API server stores it, 1000m as 1: what is rendered is then what is found there. */ -}}
{{- define "promlstm.quantity" -}}
{{- $text := kindIs "string" . | ternary . (toJson .) -}}
{{- $suffix := regexFind "[A-Za-z]*$" $text -}}
{{- $whole := regexFind "^[0-9]*" $text -}}
{{- $part := regexReplaceAll "0+$" (trimPrefix "." (trimPrefix $whole (trimSuffix $suffix $text))) "" -}}
{{- $digits := regexReplaceAll "^0+" (print $whole $part) "" | default "0" -}}
{{- $sizes := list 1 1000 1000000 1000000000 1000000000000 1000000000000000 -}}
{{- $names := list "m" "" "k" "M" "G" "T" -}}
{{- if hasSuffix "i" $suffix }}{{ $sizes = list 1 1024 1048576 1073741824 1099511627776 }}{{ $names = list "" "Ki" "Mi" "Gi" "Ti" }}{{ end -}}
{{- $size := 0 -}}
{{- range $i, $name := $names }}{{ if eq $name $suffix }}{{ $size = index $sizes $i }}{{ end }}{{ end -}}
{{- $scale := 1 -}}
{{- range until (len $part) }}{{ $scale = mul $scale 10 }}{{ end -}}
{{- $value := mul $digits $size -}}
{{- if or (gt (add (len $digits) (len (print $size))) 18) (gt (len $part) 15) (not (regexMatch "^[0-9]+$" $digits)) -}}
{{ $text }}
{{- else if and (mod $value $scale) (hasSuffix "i" $suffix) (not (mod (mul $value 1000) $scale)) (lt (len (print $value)) 16) -}}
{{ div (mul $value 1000) $scale }}m
{{- else if mod $value $scale -}}
{{ $text }}
{{- else -}}
{{- $value = div $value $scale -}}
{{- $out := eq $value 0 | ternary "0" "" -}}
{{- range $i, $size := reverse $sizes -}}
{{- if and (not $out) (not (mod $value $size)) }}{{ $out = print (div $value $size) (index (reverse $names) $i) }}{{ end -}}
{{- end -}}
{{ $out }}
{{- end -}}
{{- end }}

{{- /* requests and limits, as YAML. */ -}}
{{- define "promlstm.resources" -}}
{{- $out := dict -}}
{{- range $part, $amounts := . -}}
{{- $of := dict -}}
{{- range $name, $amount := $amounts }}{{ $_ := set $of $name (include "promlstm.quantity" $amount) }}{{ end -}}
{{- if $of }}{{ $_ := set $out $part $of }}{{ end -}}
{{- end -}}
{{- if $out }}{{ toYaml $out }}{{ end -}}
{{- end }}
