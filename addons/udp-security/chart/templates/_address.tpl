{{- /*
SPDX-FileCopyrightText: © 2026 udp-security contributors
SPDX-License-Identifier: MIT

Addresses as strings of bits: containment is a common prefix, host bits are ones behind it.
*/ -}}

{{- /*
Reads an address or CIDR that the schema has accepted.
In: dict "text". Sets on the same dict:
  family     4 or 6
  bits       the whole address in binary, 32 or 128 characters
  prefix     length of the network part
  network    canonical text of the network: 10.0.0.0/8, fd00::/8; a single address has no prefix length
  host       canonical text of the address alone
  hostBits   whether a bit behind the prefix is set
*/ -}}
{{- define "udp-security.address.parse" -}}
{{- $a := . -}}
{{- $parts := splitList "/" $a.text -}}
{{- $host := first $parts -}}
{{- $bits := "" -}}
{{- if contains ":" $host -}}
  {{- $_ := set $a "family" 6 -}}
  {{- $groups := list -}}
  {{- $halves := splitList "::" $host -}}
  {{- $left := without (splitList ":" (index $halves 0)) "" -}}
  {{- $groups = $left -}}
  {{- if eq (len $halves) 2 -}}
    {{- $right := without (splitList ":" (index $halves 1)) "" -}}
    {{- range until (int (sub (sub 8 (len $left)) (len $right))) }}{{ $groups = append $groups "0" }}{{ end -}}
    {{- $groups = concat $groups $right -}}
  {{- end -}}
  {{- range $groups }}{{ $bits = printf "%s%016b" $bits (int (printf "0x%s" .)) }}{{ end -}}
{{- else -}}
  {{- $_ := set $a "family" 4 -}}
  {{- range splitList "." $host }}{{ $bits = printf "%s%08b" $bits (atoi .) }}{{ end -}}
{{- end -}}
{{- $prefix := len $bits -}}
{{- if eq (len $parts) 2 }}{{ $prefix = atoi (index $parts 1) }}{{ end -}}
{{- $hostBits := contains "1" (substr $prefix (len $bits) $bits) -}}
{{- $canonical := $host -}}
{{- if eq $a.family 6 }}{{ $canonical = include "udp-security.address.text" $bits }}{{ end -}}
{{- $_ := set $a "bits" $bits -}}
{{- $_ := set $a "prefix" $prefix -}}
{{- $_ := set $a "hostBits" $hostBits -}}
{{- $_ := set $a "host" $canonical -}}
{{- if $hostBits -}}
  {{- $masked := printf "%s%s" (trunc $prefix $bits) (repeat (int (sub (len $bits) $prefix)) "0") -}}
  {{- $canonical = include "udp-security.address.text" $masked -}}
{{- end -}}
{{- if lt $prefix (len $bits) }}{{ $canonical = printf "%s/%d" $canonical $prefix }}{{ end -}}
{{- $_ := set $a "network" $canonical -}}
{{- end -}}

{{- /* The canonical text of 32 or 128 bits; IPv6 as RFC 5952 section 4 asks. */ -}}
{{- define "udp-security.address.text" -}}
{{- $bits := . -}}
{{- if eq (len $bits) 32 -}}
  {{- $octets := list -}}
  {{- range list 0 8 16 24 }}{{ $octets = append $octets (int (printf "0b%s" (substr . (int (add . 8)) $bits))) }}{{ end -}}
  {{- join "." $octets -}}
{{- else -}}
  {{- $groups := ":" -}}
  {{- range list 0 16 32 48 64 80 96 112 -}}
    {{- $groups = printf "%s%x:" $groups (int (printf "0b%s" (substr . (int (add . 16)) $bits))) -}}
  {{- end -}}
  {{- $text := $groups -}}
  {{- if contains ":0:0:" $groups -}}
    {{- range list 8 7 6 5 4 3 2 -}}
      {{- $zeros := printf ":%s" (repeat . "0:") -}}
      {{- if and (eq $text $groups) (contains $zeros $groups) -}}
        {{- $cut := splitn $zeros 2 $groups -}}
        {{- $text = printf "%s::%s" $cut._0 $cut._1 -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- if not (hasPrefix "::" $text) }}{{ $text = trimPrefix ":" $text }}{{ end -}}
  {{- if not (hasSuffix "::" $text) }}{{ $text = trimSuffix ":" $text }}{{ end -}}
  {{- $text -}}
{{- end -}}
{{- end -}}

{{- /*
Reads a list of CIDRs, reporting host bits and IPv4-mapped forms, and sorts it by family.
In: dict "texts" (nil: any address), "path" (the list's place in the values), "where" (how messages call the list), "errors" (see
udp-security.error), "cache" (dict of addresses read before).
Sets on the same dict: any4, any6 (whether every address of the family is named), cidrs4, cidrs6 (lists of parsed addresses),
families ("any", "IPv4", "IPv6" or "IPv4 and IPv6").
*/ -}}
{{- define "udp-security.address.list" -}}
{{- $l := . -}}
{{- $four := list -}}
{{- $six := list -}}
{{- $any4 := false -}}
{{- $any6 := false -}}
{{- if kindIs "invalid" $l.texts -}}
  {{- $any4 = true -}}
  {{- $any6 = true -}}
  {{- $_ := set $l "families" "any" -}}
{{- else -}}
  {{- range $i, $text := $l.texts -}}
    {{- if not (hasKey $l.cache $text) -}}
      {{- $a := dict "text" $text -}}
      {{- include "udp-security.address.parse" $a -}}
      {{- $_ := set $l.cache $text $a -}}
    {{- end -}}
    {{- $a := get $l.cache $text -}}
    {{- $mapped := and (eq $a.family 6) (ge $a.prefix 96) (hasPrefix (printf "%s%s" (repeat 80 "0") (repeat 16 "1")) $a.bits) -}}
    {{- if $mapped -}}
      {{- $v4 := include "udp-security.address.text" (substr 96 128 $a.bits) -}}
      {{- if lt $a.prefix 128 }}{{ $v4 = printf "%s/%d" $v4 (sub $a.prefix 96) }}{{ end -}}
      {{- include "udp-security.error" (list $l.errors (printf "%s[%d]" $l.path $i) "mapped" $l.where $text $v4) -}}
    {{- else if $a.hostBits -}}
      {{- include "udp-security.error" (list $l.errors (printf "%s[%d]" $l.path $i) "hostBits" $l.where $text $a.network $a.host) -}}
    {{- end -}}
    {{- if eq $a.family 4 -}}
      {{- if eq $a.prefix 0 }}{{ $any4 = true }}{{ end -}}
      {{- $four = append $four $a -}}
    {{- else -}}
      {{- if eq $a.prefix 0 }}{{ $any6 = true }}{{ end -}}
      {{- $six = append $six $a -}}
    {{- end -}}
  {{- end -}}
  {{- $names := list -}}
  {{- if $four }}{{ $names = append $names "IPv4" }}{{ end -}}
  {{- if $six }}{{ $names = append $names "IPv6" }}{{ end -}}
  {{- $_ := set $l "families" (join " and " $names) -}}
{{- end -}}
{{- $_ := set $l "any4" $any4 -}}
{{- $_ := set $l "any6" $any6 -}}
{{- $_ := set $l "cidrs4" $four -}}
{{- $_ := set $l "cidrs6" $six -}}
{{- end -}}

{{- /* Whether a CIDR contains another. In: list OUTER INNER, as parsed. */ -}}
{{- define "udp-security.address.contains" -}}
{{- $outer := index . 0 -}}
{{- $inner := index . 1 -}}
{{- and (eq $outer.family $inner.family) (le $outer.prefix $inner.prefix) (hasPrefix (trunc $outer.prefix $outer.bits) $inner.bits) -}}
{{- end -}}

{{- /* Whether one entry of a list contains a CIDR. In: list LIST CIDR. */ -}}
{{- define "udp-security.address.covers" -}}
{{- $l := index . 0 -}}
{{- $cidr := index . 1 -}}
{{- $covered := get $l (printf "any%d" $cidr.family) -}}
{{- range $entry := get $l (printf "cidrs%d" $cidr.family) -}}
  {{- if not $covered }}{{ $covered = eq (include "udp-security.address.contains" (list $entry $cidr)) "true" }}{{ end -}}
{{- end -}}
{{- $covered -}}
{{- end -}}
