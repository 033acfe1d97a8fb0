# ruff: noqa: E501  (a table of sentences reads best with one sentence per line)
"""What happens in a story of `prose`: plots of beats, each beat a choice of sentences with slots.

`{hero}`, `{friend}`, `{village}`, `{thing}` … are the story's cast, fixed from its first line to its last; the slots named in
`POOLS` are drawn afresh each time.
"""

from __future__ import annotations

from benchsuite.data.synthetic import words

POOLS: dict[str, tuple[str, ...]] = {
    "food": tuple(words.FOODS),
    "wild": tuple(words.ANIMALS),
    "weather": (
        "a cold wind blew from the hills", "rain drummed on the roofs", "snow lay deep on the fields", "the sun shone on the wet grass",
        "fog hung over the river", "the sky was clear and blue", "grey clouds raced over the chimneys", "a soft mist covered the meadows",
        "frost glittered on every window", "the air was warm and smelled of hay", "thunder rolled far away", "leaves were falling in the lanes",
    ),
    "when": (
        "one morning in {month}", "early one {day}", "on the first {day} of {month}", "late one evening in {month}", "on a quiet {day} afternoon",
        "just before dawn", "on the last day of {month}", "one {day} after breakfast", "at noon on a {day}", "one night in {month}",
    ),
    "month": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "tree": ("alder", "apple tree", "ash", "beech", "birch", "cedar", "chestnut", "elm", "fir", "hazel", "larch", "linden", "maple", "oak", "pine", "poplar", "willow", "yew"),
    "flower": ("bluebells", "buttercups", "clover", "daisies", "foxgloves", "heather", "irises", "lavender", "lilies", "marigolds", "poppies", "primroses", "snowdrops", "tulips", "violets"),
    "slowly": ("slowly", "quietly", "carefully", "at once", "without a word", "gladly", "in a hurry", "patiently", "with a sigh", "with a smile", "bravely", "shyly"),
    "sound": (
        "the church bell", "a dog barking", "someone singing", "the creak of a door", "footsteps on the gravel", "the call of an owl",
        "the mill wheel turning", "children laughing", "a whistle", "the wind in the chimney",
    ),
    "drink": ("hot milk", "mint tea", "cider", "coffee", "cold water", "apple juice", "cocoa", "ginger tea", "lemonade", "plum wine"),
    "furniture": ("table", "cupboard", "bench", "shelf", "bed", "stove", "window seat", "wardrobe", "desk", "staircase"),
    "long": ("an hour", "two hours", "half the day", "a long time", "three days", "a week", "most of the night", "ten minutes", "a whole month"),
    "glad": ("happy", "proud", "relieved", "cheerful", "delighted", "content", "thankful", "full of joy"),
    "sad": ("worried", "unhappy", "upset", "sad", "troubled", "restless", "gloomy", "anxious"),
}  # fmt: skip

Beat = tuple[str, ...]

OPENING: Beat = (
    "{hero} was {a_craft} who lived in {village}, {region}. {He} shared a small house with {his} {kin}, {friend}.",
    "In {village}, {region}, there lived {a_craft} called {hero}. {His} {kin} {friend} lived next door.",
    "{hero}, {a_craft} from {village}, had one good friend in the world: {his} {kin} {friend}. They lived {region}.",
    "Everyone in {village} knew {hero} the {craft} and {his} {kin} {friend}. Their house stood {region}.",
    "{region_cap} lies the village of {village}. {hero} worked there as {a_craft}, and {his} {kin} {friend} helped {him}.",
    "For many years {hero} had been the only {craft} in {village}, {region}. {His} {kin} {friend} kept {him} company.",
)

WEATHER: Beat = (
    "{When}, {weather}.", "{When}, when {weather}, {hero} woke to {sound}.", "{Weather} {when}, and {hero} lit the stove and drank {drink}.",
    "{When}, {hero} and {friend} sat down to {food} and {drink} while {weather}.", "It began {when}. {Weather}, and nobody was out but {a_wild}.",
    "{When}, {hero} opened the door and saw that {weather}.",
)  # fmt: skip

MEETING: Beat = (
    'On the way {he} met {other}, the {other_craft}. "Good day, {hero}," said {other}. "Where are you going?"',
    'Near a tall {tree} {he} came upon {other} the {other_craft}, who was eating {food}. "Sit down and rest," said {other}.',
    "{other}, who was {an_other_craft} in {town}, was standing under the {tree}. {Ohe} waved at {hero} and called {his} name.",
    "Half way along the road {he} heard {sound}. It was {other}, the {other_craft}, with a basket of {food}.",
    "At the inn {hero} asked for {drink} and sat beside {other}, {an_other_craft} from {town}. They talked for {long}.",
)

TALK: Beat = (
    '"I have come from {village} because of {the_thing}," said {hero}. {other} nodded {slowly}.',
    '{hero} told {other} about {the_thing}. "I understand," said {other}. "{friend} will be {glad} when this is over."',
    '"Does it matter so much?" asked {other}. "It belonged to my {elder}," said {hero}, "and now it is mine."',
    '"You look {sad}," said {other}. "It is {the_thing}," said {hero}. "I cannot stop thinking of it."',
    '{other} listened {slowly} and gave {him} some {food} for the road. "Keep to the left of the {tree}," {ohe} said.',
)

JOURNEY: Beat = (
    "{He} took the road from {village} to {town}, past fields of {flower} and a lonely {tree}.",
    "It was a long walk to {town}. {Weather}, and {a_wild} watched {him} from a wall.",
    "{hero} packed {food} and {drink} and set out for {town} {slowly}. {friend} waved from the door.",
    "The way to {town} led over a bridge and through a wood of {tree} and {flower}. {hero} walked for {long}.",
    "{He} rode to {town} on the cart of a neighbour. {Weather}, and they sang to pass the time.",
)

ENDING: Beat = (
    "That night, back in {village}, {hero} put {the_thing} {spot} and slept {slowly}.",
    "When {hero} came home to {village}, {friend} was waiting with {drink} and {food}. {The_thing} lay {spot} again, and all was well.",
    "From then on {the_thing} stayed {spot}, and whenever {hero} saw it {he} thought of {other} and of {town}.",
    "{hero} and {friend} laughed about it for years. {The_thing} is still {spot}, in the house in {village}.",
    '"I will never forget this," said {friend}. {hero} only smiled and set {the_thing} {spot}. They were both {glad}.',
    "And if you visit {village} you may see {the_thing} for yourself: {hero} keeps it {spot}, as {his} {elder} did.",
)

LOST: tuple[Beat, ...] = (
    (
        "{He} had {a_thing} that had once been {his} {elder}'s. It always lay {spot}, but now it was gone.",
        "What {hero} loved most was {a_thing}, which {he} kept {spot}. That day the place was empty.",
        "\"Have you seen {the_thing}?\" asked {hero}. \"It was {spot} last night,\" said {friend}, \"and now it is not there.\"",
    ),
    (
        "They looked under the {furniture} and behind the {furniture}, but they found only dust and the footprints of {a_wild}.",
        "{friend} searched the garden among the {flower}, and {hero} searched the house for {long}. They found nothing.",
        "{hero} was {sad}. {He} asked every neighbour in {village}, but nobody had seen it.",
    ),
    (
        "Then {friend} remembered a stranger from {town} who had bought {food} from them. \"Perhaps the stranger took it,\" said {fhe}.",
        "In the mud by the gate {friend} saw tracks that led toward {town}. \"Follow them,\" {fhe} said, \"and I will stay here.\"",
        "At last a child said that a cart had carried it to {town} by mistake.",
    ),
    JOURNEY, MEETING, TALK,
    (
        "\"Then this must be yours,\" said {other}, and there, wrapped in a cloth, was {the_thing}. {hero} was {glad}.",
        "{other} led {him} to the market of {town}. Between the {food} and the {flower} lay {the_thing}. {hero} knew it at once.",
        "{other} opened a {furniture} drawer and took out {the_thing}. \"I found it on the road,\" {ohe} said. \"Take it home.\"",
    ),
)  # fmt: skip

GIFT: tuple[Beat, ...] = (
    (
        "{hero} wanted to give something fine to {his} {elder}, who lived in {town}. For {long} {he} had been working on {a_thing}.",
        "In {town} lived {hero}'s {elder}, who had been ill since {month}. \"I will bring {him_elder} {a_thing},\" said {hero}.",
        "A letter came from {town}: {his} {elder} was going to have a birthday. {hero} chose {a_thing} as a present.",
    ),
    (
        "{friend} wrapped {the_thing} in paper and tied it with {a_colour2} ribbon. \"Do not drop it,\" {fhe} said.",
        "\"Take some {food} too,\" said {friend}, and {fhe} put {the_thing} in a basket, between the {food} and the {flower}.",
        "{friend} polished {the_thing} until it shone, and then {hero} put it in {his} bag.",
    ),
    JOURNEY,
    (
        "But the bridge was broken, and the water was too deep to cross. {hero} sat down under {a_tree} and was {sad}.",
        "Then {weather}, and {he} lost the path. All {he} could hear was {sound}.",
        "Near {a_tree} {he} slipped on the stones. The basket rolled down the hill, but {the_thing} was not broken.",
    ),
    MEETING, TALK,
    (
        "\"I know another way,\" said {other}, and together they reached {town} before dark. The {elder} wept when {hero} held out {the_thing}.",
        "{other} carried {the_thing} for {him} the rest of the way. The old {elder} stood at the window in {town} and was {glad}.",
        "With the help of {other} {he} came to the right house at last. \"For me?\" said the {elder}. \"But you must keep it in {village}, I have no room.\"",
    ),
)  # fmt: skip

REPAIR: tuple[Beat, ...] = (
    (
        "{friend} had knocked against the {furniture}, and {the_thing} that used to stand {spot} lay broken on the floor.",
        "For {long} {the_thing} had been broken. It had been a present from {hero}'s {elder}, and {hero} missed it.",
        "\"I am sorry,\" said {friend}. \"I dropped {the_thing}.\" {hero} picked up the pieces {slowly}.",
    ),
    (
        "\"We can mend it,\" said {hero}. {He} tried with glue and with string, but it fell apart again.",
        "{hero} was {a_craft} and could do many things, but {he} could not mend this. {friend} was {sad}.",
        "They asked in {village}, but no one knew how to repair such a thing.",
    ),
    (
        "\"There is {an_other_craft} in {town} called {other},\" said {friend}. \"{Ohe} can repair anything.\"",
        "Then {friend} heard of {other}, the {other_craft} of {town}, whose hands were said to be magic.",
    ),
    JOURNEY,
    (
        "{other} put on {oher} glasses and turned {the_thing} over and over. \"Come back in {long},\" {ohe} said.",
        "The workshop of {other} was full of clocks, {flower} and dust. \"Put it on the {furniture},\" said {other}.",
        "{other} looked at {the_thing} and whistled. \"I have not seen one like it since {month}.\"",
    ),
    TALK,
    (
        "{other} worked for {long}. When {hero} saw {the_thing} again it was whole, and only a thin {colour2} line showed where it had been broken.",
        "At last it was done. \"What do I owe you?\" asked {hero}. \"A bag of {food},\" said {other}, and they shook hands.",
        "{other} needed one small piece of {colour2} glass, and {hero} found it by the road. Then {the_thing} was as good as new.",
    ),
)  # fmt: skip

FAIR: tuple[Beat, ...] = (
    (
        "Every {month} there was a fair in {town}, and this year the first prize was {a_thing}.",
        "A notice hung on the {tree} in the square: at the fair of {town} the best {craft} would win {a_thing}.",
        "\"You should go to the fair in {town},\" said {friend}. \"The prize is {a_thing}, just like the one your {elder} had.\"",
    ),
    (
        "{hero} practised for {long}, while {friend} cooked {food} and told {him} not to worry.",
        "\"I am not good enough,\" said {hero}. \"You are the best {craft} in {village},\" said {friend}.",
        "{He} got up early each day, drank {drink}, and worked until {he} heard {sound}.",
    ),
    JOURNEY,
    (
        "The square of {town} was full of people, {flower} and the smell of {food}. {The_thing} stood on a {furniture} for all to see.",
        "There were tents and flags, and {a_wild} in a cage. In the middle {hero} saw {the_thing}.",
    ),
    (
        "{His} rival was {other}, a famous {other_craft}. \"May the better one win,\" said {other} {slowly}.",
        "The only one {he} feared was {other}, {an_other_craft} who had won three times. {Ohe} was {sad} that day.",
    ),
    (
        "They worked side by side for {long}. When {other} ran out of string, {hero} gave {ohim} some of {his} own.",
        "In the middle of it {weather}, and {hero} held {his} coat over the work of {other}.",
        "Once {hero} nearly gave up, but then {he} thought of {friend} and went on {slowly}.",
    ),
    (
        "The judges could not decide. \"Give {the_thing} to {hero},\" said {other}, \"for {he} helped me when {he} did not have to.\"",
        "{hero} won by one point, and {other} was the first to clap. {He} carried {the_thing} home through the dark.",
        "{other} won, but {ohe} put {the_thing} into {hero}'s hands. \"You deserve it more,\" {ohe} said.",
    ),
)  # fmt: skip

CREATURE: tuple[Beat, ...] = (
    (
        "Beside the path, under {a_tree}, {hero} found {an_animal} with a hurt leg. Around its neck hung {a_thing}.",
        "There was {an_animal} at the door. It was thin and wet, and it had dragged {a_thing} all the way to {village}.",
        "{hero} heard {sound} and then a cry. Behind the house sat {an_animal}, and next to it lay {a_thing}.",
    ),
    (
        "\"Poor thing,\" said {friend}, and {fhe} gave the {animal} some {food} and a bed by the {furniture}.",
        "{hero} washed the {animal} {slowly} and bound its leg with {a_colour2} cloth. {friend} warmed some {drink}.",
    ),
    (
        "For {long} the {animal} slept. {hero} put {the_thing} {spot} and wondered whose it was.",
        "{friend} looked at {the_thing}. \"There is a name on it,\" {fhe} said. \"{other}, of {town}.\"",
        "Day by day the {animal} grew stronger. It followed {hero} everywhere and slept {spot}, beside {the_thing}.",
    ),
    JOURNEY,
    (
        "The {animal} ran ahead of {him} and stopped at the house of {other}, {an_other_craft}. \"You have found my {animal}!\" cried {other}.",
        "In {town} lived {other} the {other_craft}, who had been looking for the {animal} for {long}. {Ohe} was {glad} and could hardly speak.",
    ),
    TALK,
    (
        "\"Keep {the_thing},\" said {other}, \"to remember us by.\" The {animal} licked {hero}'s hand.",
        "{other} gave {him} {the_thing} as a reward, and a bag of {food} for {friend}. The {animal} looked after {him} until {he} was out of sight.",
        "\"The {animal} likes you better than me,\" said {other}. \"Take it back to {village}, and {the_thing} too.\"",
    ),
)  # fmt: skip

LETTER: tuple[Beat, ...] = (
    (
        "In the attic {hero} found an old letter from {his} {elder}. It said: look for {the_thing} in {town}.",
        "Inside a book {friend} found a map. On the back somebody had drawn {a_thing} and written the name of {town}.",
        "{A_wild} had built its nest in the chimney, and when {hero} took it down a letter fell out. It spoke of {a_thing}.",
    ),
    (
        "\"My {elder} never told me about it,\" said {hero}. \"Then go and see,\" said {friend}.",
        "They read it three times by the light of the stove. {hero} could not sleep, and listened to {sound}.",
        "{friend} thought that it was a joke, but {hero} was already packing {food} and {drink}.",
    ),
    JOURNEY, MEETING,
    (
        "\"I knew your {elder},\" said {other}. \"We were young together in {town}. Come with me.\"",
        "{hero} showed {other} the letter. {other} read it {slowly} and was silent for {long}.",
    ),
    (
        "Under {a_tree} they dug until the spade struck something hard. It was a box, and in it lay {the_thing}.",
        "Behind a loose stone in the wall of the mill they found {the_thing}, covered with dust and {flower}.",
        "{other} unlocked a room that had been closed for years. On the {furniture} stood {the_thing}.",
    ),
    TALK,
    (
        "A note was tied to it: \"For {hero}, so that {he} will always find the way back to {village}.\"",
        "\"Your {elder} left it for you,\" said {other}. \"I was to wait until you asked.\" {hero} was {glad}.",
        "{other} would not take any money for {the_thing}. \"It was never mine,\" {ohe} said.",
    ),
)  # fmt: skip

PLOTS: tuple[tuple[Beat, ...], ...] = (LOST, GIFT, REPAIR, FAIR, CREATURE, LETTER)
