# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
#
# What Prometheus is told of this node: text in its exposition format 0.0.4. Nothing in it grows with the traffic.

# How many rules are told apart.
METRICS_RULES=500
# Whether it was said that they cannot be written.
MUTE=

metrics() {
    known_backend
    if in_force; then metrics_text 1; else metrics_text 0; fi
}

# Writes the metrics to where `serve` finds them, unless another pod has the node: of two pods of a rollout one is heard.
publish_metrics() {
    [ -n "$METRICS_PORT" ] || return 0
    if ! claimed; then
        _owner=$(backend look | backend owner)
        case $_owner in
        "" | "$SELF") ;;
        *)
            withdraw_metrics
            return
            ;;
        esac
    fi
    _enforced=1
    [ -z "$FAILED" ] && [ ! -e "$STATE/released" ] && claimed || _enforced=0
    { metrics_text "$_enforced" && echo "$WRITTEN"; } 2>/dev/null >"$STATE/metrics.new"
    # Half of it would look like counters that are gone. The listener is another user.
    if whole metrics.new && chmod 644 "$STATE/metrics.new" && mv "$STATE/metrics.new" "$STATE/metrics.prom"; then
        MUTE=
        return
    fi
    rm -f "$STATE/metrics.new"
    [ -n "$MUTE" ] || log warn no-metrics "cannot write to $STATE (is its emptyDir full?)"
    MUTE=1
}

withdraw_metrics() {
    rm -f "$STATE/metrics.prom"
}

# Lines `COUNTER DIRECTION` of this pod's policy, in its order. What the policy says never changes: they are made once.
rule_directions() {
    [ -e "$STATE/directions" ] || {
        if [ -e "$STATE/policy/policy.rules" ]; then
            awk '$2 ~ /^r\./ { print $2, $1 }' "$STATE/policy/policy.rules"
        else
            awk '
                /^\tchain g0\.r\./ { name = substr($2, 4) }
                /^\t}/ { name = "" }
                name != "" && match($0, / g0\.allow\.[a-z]+/) { print name, substr($0, RSTART + 10, RLENGTH - 10); name = "" }
                ' "$STATE/policy/policy.nft"
        fi >"$STATE/directions.new" && mv "$STATE/directions.new" "$STATE/directions"
    } 2>/dev/null
    cat "$STATE/directions" 2>/dev/null
}

# metrics_text ENFORCED (1 or 0)
metrics_text() {
    {
        printf 'info %s\n' "os linux" "backend $BACKEND" "mode $(fact mode)" "scope $(fact scope)" \
            "generation $(printf %.12s "$WANTED")" "version $(fact version)"
        printf 'value %s\n' "enforced $1" "heals_total $(heals)" "apply_seconds $(apply_seconds)" \
            "applied_timestamp_seconds $(date -r "$STATE/loaded" +%s 2>/dev/null)" \
            "verdict_cache_trusted $(cache_trusted)" "last_look_timestamp_seconds $(date +%s)"
        rule_directions | sed 's/^/direction /'
        backend counters
    } | awk -v most="$METRICS_RULES" '
        function described(name, help) {
            name = "udp_security_" name
            print "# HELP", name, help
            print "# TYPE", name, name ~ /_total$/ ? "counter" : "gauge"
        }
        function told(name, help) {
            if (value[name] == "" || value[name] == "null") return
            described(name, help)
            print "udp_security_" name, value[name]
        }
        function label(text) {
            gsub(/[\\"]/, "\\\\&", text)
            return "\"" text "\""
        }
        function counted(name, labels, n) { print "udp_security_" name "{" labels "}", n }
        $1 == "info" { labels = labels "," $2 "=" label(substr($0, length($1 $2) + 3)) }
        $1 == "value" { value[$2] = $3 == "true" ? 1 : $3 == "false" ? 0 : $3 }
        $1 == "direction" { name[++rules] = $2; direction[$2] = $3 }
        $1 == "rule" { allowed[$2] = $3 }
        $1 == "denied" { denied[++kinds] = $2; packets[$2] = $3 }
        END {
            described("info", "What this agent runs; always 1.")
            counted("info", substr(labels, 2), 1)
            told("enforced", "Whether the kernel holds exactly the policy of this pod, 1 or 0; in mode audit that drops nothing.")
            told("heals_total", "Foreign changes of the rules that this pod has undone.")
            told("apply_seconds", "How long the last load of the rules took.")
            told("applied_timestamp_seconds", "When the rules were loaded last, in Unix time.")
            told("verdict_cache_trusted", "Whether verdicts of known flows come from the cache; 0: each packet is looked up.")
            told("last_look_timestamp_seconds", "When the agent compared the rules last, in Unix time.")
            described("allowed_flows_total", "What each rule allowed: flows where the verdict cache is trusted, else packets.")
            for (i = 1; i <= rules; i++) {
                if (!(name[i] in allowed)) continue
                if (i > most) { others[direction[name[i]]] += allowed[name[i]]; continue }
                rule = substr(name[i], 3)
                if (rule ~ /^preset\./) gsub(/\./, ":", rule)
                counted("allowed_flows_total", "rule=" label(rule) ",direction=" label(direction[name[i]]), allowed[name[i]])
            }
            split("ingress egress forward", each, " ")
            for (i = 1; i <= 3; i++) {
                if (!(each[i] in others)) continue
                # Without an exponent.
                counted("allowed_flows_total", "rule=\"(others)\",direction=" label(each[i]), sprintf("%.0f", others[each[i]]))
            }
            described("denied_packets_total", "Packets that no rule allows; in mode audit they passed all the same.")
            for (i = 1; i <= kinds; i++)
                if (denied[i] !~ /^(ingress|egress|forward)$/) guards = 1
                else counted("denied_packets_total", "direction=" label(denied[i]), packets[denied[i]])
            if (!guards) exit
            described("guarded_packets_total", "Packets of forged sources, of VLAN-tagged frames, and dropped before conntrack.")
            for (i = 1; i <= kinds; i++)
                if (denied[i] !~ /^(ingress|egress|forward)$/)
                    counted("guarded_packets_total", "guard=" label(denied[i]), packets[denied[i]])
        }'
}
