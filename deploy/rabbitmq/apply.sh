#!/bin/sh
# Loads the queues and makes one user for each service on a RabbitMQ node, where rabbitmqctl can be called.
# Usage: deploy/rabbitmq/apply.sh FOLDER   FOLDER has a file with the password of each user: scheduler, evaluator, ...
#        deploy/rabbitmq/apply.sh --check  changes nothing; exit code 1 and a line for each policy that is not as it should be
# A user that exists gets the password and the rights again. Nothing is printed that is secret.
set -eu
here=$(dirname "$0")
folder=${1:?give the folder with the passwords, or --check}
# From JSON on standard input a line for each policy: its name, then its settings in the order of the alphabet.
policies() {
    tr -d ' \n"\\[]' | sed 's/},{/\n/g' | while read -r policy || [ -n "$policy" ]; do
        settings=$(printf '%s' "$policy" | tr ',{}' '\n\n\n' | grep ':.' | sort | tr '\n' ' ')
        printf '%s %s\n' "$(printf '%s' "$settings" | sed 's/.* name:\([^ ]*\).*/\1/')" "$settings"
    done
}
if [ "$folder" = --check ]; then
    wanted=$(sed -n '/"policies": \[/,/^ \]/p' "$here/definitions.json" | sed 1d | policies)
    found=$(rabbitmqctl --quiet list_policies --vhost / --formatter json | policies)
    printf '%s\n' "$wanted" | {
        differs=0
        while IFS= read -r policy; do
            printf '%s\n' "$found" | grep -qxF "$policy" && continue
            echo "policy ${policy%% *} differs from definitions.json, or is not there" >&2
            differs=1
        done
        [ $differs = 1 ] || echo "policies are as in definitions.json"
        exit $differs
    }
    exit
fi
rabbitmqctl --quiet import_definitions "$here/definitions.json"
grep -v '^#' "$here/rights.tsv" | while IFS="$(printf '\t')" read -r user configure write read; do
    # By standard input: a password in an argument stands in the process list.
    rabbitmqctl --quiet add_user "$user" <"$folder/$user" 2>/dev/null || rabbitmqctl --quiet change_password "$user" <"$folder/$user"
    # Not from here: it would read the rest of the users away.
    rabbitmqctl --quiet set_permissions --vhost / "$user" "$configure" "$write" "$read" </dev/null
    echo "$user: rights set"
done
