#!/bin/sh
# Loads the queues and makes one user for each service on a RabbitMQ node, where rabbitmqctl can be called.
# Usage: deploy/rabbitmq/apply.sh FOLDER   FOLDER has a file with the password of each user: scheduler, evaluator, ...
# A user that exists gets the password and the rights again. Nothing is printed that is secret.
set -eu
here=$(dirname "$0")
folder=${1:?give the folder with the passwords}
rabbitmqctl --quiet import_definitions "$here/definitions.json"
grep -v '^#' "$here/rights.tsv" | while IFS="$(printf '\t')" read -r user configure write read; do
    # By standard input: a password in an argument stands in the process list.
    rabbitmqctl --quiet add_user "$user" <"$folder/$user" 2>/dev/null || rabbitmqctl --quiet change_password "$user" <"$folder/$user"
    # Not from here: it would read the rest of the users away.
    rabbitmqctl --quiet set_permissions --vhost / "$user" "$configure" "$write" "$read" </dev/null
    echo "$user: rights set"
done
