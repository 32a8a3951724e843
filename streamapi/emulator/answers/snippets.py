"""One small program for each language, with slots for names, a comment and samples.

Each is a `string.Template`, so a dollar sign of the language itself is written
twice.
"""

__all__ = ["SNIPPETS"]

SNIPPETS: dict[str, str] = {}

SNIPPETS["python"] = '''
from collections import Counter
from collections.abc import Iterable


def $name(items: Iterable[str]) -> dict[str, int]:
    """$about."""
    counts = Counter(item.strip().lower() for item in items if item.strip())
    return dict(counts.most_common())


if __name__ == "__main__":
    print($name(["$one", "$two", "$one"]))
'''

SNIPPETS["javascript"] = """
// $about.
export function $camel(items) {
  const counts = new Map();
  for (const item of items) {
    const key = item.trim().toLowerCase();
    if (key) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

console.log($camel(["$one", "$two", "$one"]));
"""

SNIPPETS["typescript"] = """
// $about.
export function $camel(items: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) {
    const key = item.trim().toLowerCase();
    if (key) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

console.log($camel(["$one", "$two", "$one"]));
"""

SNIPPETS["go"] = """
package main

import (
	"fmt"
	"strings"
)

// $pascal counts its items: $about.
func $pascal(items []string) map[string]int {
	counts := make(map[string]int)
	for _, item := range items {
		if key := strings.ToLower(strings.TrimSpace(item)); key != "" {
			counts[key]++
		}
	}
	return counts
}

func main() {
	fmt.Println($pascal([]string{"$one", "$two", "$one"}))
}
"""

SNIPPETS["rust"] = """
use std::collections::HashMap;

/// $about.
fn $name(items: &[&str]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for item in items {
        let key = item.trim().to_lowercase();
        if !key.is_empty() {
            *counts.entry(key).or_insert(0) += 1;
        }
    }
    counts
}

fn main() {
    println!("{:?}", $name(&["$one", "$two", "$one"]));
}
"""

SNIPPETS["java"] = """
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** $about. */
public class $pascal {
    static Map<String, Integer> count(List<String> items) {
        Map<String, Integer> counts = new LinkedHashMap<>();
        for (String item : items) {
            String key = item.strip().toLowerCase();
            if (!key.isEmpty()) {
                counts.merge(key, 1, Integer::sum);
            }
        }
        return counts;
    }

    public static void main(String[] args) {
        System.out.println(count(List.of("$one", "$two", "$one")));
    }
}
"""

SNIPPETS["c"] = """
#include <stdio.h>
#include <string.h>

/* $about. */
static int $name(const char *items[], int length, const char *wanted) {
    int count = 0;
    for (int i = 0; i < length; i++) {
        if (strcmp(items[i], wanted) == 0) {
            count++;
        }
    }
    return count;
}

int main(void) {
    const char *items[] = {"$one", "$two", "$one"};
    printf("%d\\n", $name(items, 3, "$one"));
    return 0;
}
"""

SNIPPETS["cpp"] = """
#include <iostream>
#include <map>
#include <string>
#include <vector>

// $about.
std::map<std::string, int> $name(const std::vector<std::string>& items) {
    std::map<std::string, int> counts;
    for (const auto& item : items) {
        if (!item.empty()) {
            ++counts[item];
        }
    }
    return counts;
}

int main() {
    for (const auto& [item, count] : $name({"$one", "$two", "$one"})) {
        std::cout << item << ": " << count << '\\n';
    }
}
"""

SNIPPETS["bash"] = """
#!/usr/bin/env bash
set -euo pipefail

# $about.
$name() {
  local item
  for item in "$$@"; do
    if [[ -n "$$item" ]]; then
      printf '%s\\n' "$$item"
    fi
  done | sort | uniq -c | sort -rn
}

$name "$one" "$two" "$one"
"""

SNIPPETS["html"] = """
<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>$about</title>
  </head>
  <body>
    <main id="$kebab">
      <h1>$about</h1>
      <ul>
        <li>$one</li>
        <li>$two</li>
      </ul>
    </main>
  </body>
</html>
"""

SNIPPETS["css"] = """
/* $about. */
.$kebab {
  display: grid;
  gap: 1rem;
  grid-template-columns: repeat(2, minmax(0, 1fr));
}

.$kebab > .$one {
  color: #1a1a2e;
  font-weight: 600;
}

@media (max-width: 40rem) {
  .$kebab {
    grid-template-columns: 1fr;
  }
}
"""

SNIPPETS["json"] = """
{
  "name": "$kebab",
  "about": "$about",
  "items": [
    {"id": 1, "label": "$one", "count": 2},
    {"id": 2, "label": "$two", "count": 1}
  ],
  "complete": true
}
"""

SNIPPETS["ruby"] = """
# $about.
def $name(items)
  items.map { |item| item.strip.downcase }
       .reject(&:empty?)
       .tally
end

puts $name(%w[$one $two $one])
"""

SNIPPETS["php"] = """
<?php

declare(strict_types=1);

/** $about. */
function $camel(array $$items): array
{
    $$counts = [];
    foreach ($$items as $$item) {
        $$key = strtolower(trim($$item));
        if ($$key !== '') {
            $$counts[$$key] = ($$counts[$$key] ?? 0) + 1;
        }
    }
    return $$counts;
}

print_r($camel(['$one', '$two', '$one']));
"""

SNIPPETS["sql"] = """
-- $about.
CREATE TABLE $name (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL
);

INSERT INTO $name (id, item) VALUES (1, '$one'), (2, '$two'), (3, '$one');

SELECT item, COUNT(*) AS times
FROM $name
GROUP BY item
ORDER BY times DESC;
"""
